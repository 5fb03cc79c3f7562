# SPDX-License-Identifier: Apache-2.0
#
# mr_room(NAME format            one room: a static library room_<name>
#         OWNS millrace/shard.h  headers on the shelves that it answers for
#         SOURCES a.c b.c
#         SIMD kernel.c          compiled once a level, MRI_LEVEL=scalar ...
#         TESTS a_test.c         cmocka, one program each
#         CHECKS op_check.c      mri_check programs: exit 77 is "skipped"
#         FUZZ a_fuzz.c          LLVMFuzzerTestOneInput, replayed by ctest
#         PROTO a.proto          protobuf-c, compiled without warnings
#         NEEDS base             rooms whose headers it may include
#         LIBS PkgConfig::LZ4)   what it links
#
# A room sees include/, its own folder and nothing else. Before it compiles,
# check_includes.cmake reads every #include: a door of a room that is not in
# the closure of NEEDS, "..", or another room's folder ends the build.
set(MR_ROOT ${PROJECT_SOURCE_DIR})
set(MR_LEVELS scalar)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND MR_LEVELS sse2 avx2 avx512)
endif()
set(MR_LEVEL_FLAGS_scalar -O2 -fno-tree-vectorize)
set(MR_LEVEL_FLAGS_sse2 -O3)
set(MR_LEVEL_FLAGS_avx2 -O3 -mavx2 -mfma -mf16c -mbmi2)
set(MR_LEVEL_FLAGS_avx512 -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
    -mf16c -mbmi2 -mprefer-vector-width=512)
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  list(APPEND MR_LEVEL_FLAGS_scalar -fno-vectorize -fno-slp-vectorize)
endif()

define_property(GLOBAL PROPERTY MR_SHELF)     # "header=room" of all rooms
define_property(GLOBAL PROPERTY MR_ROOMS)
set(MR_SHELF_FILE ${PROJECT_BINARY_DIR}/shelf.txt)

function(mr_room)
  cmake_parse_arguments(R "" "NAME"
    "OWNS;SOURCES;SIMD;TESTS;CHECKS;FUZZ;PROTO;NEEDS;LIBS" ${ARGN})
  set(lib room_${R_NAME})
  set_property(GLOBAL APPEND PROPERTY MR_ROOMS ${R_NAME})

  set(closure ${R_NAME})
  foreach(need IN LISTS R_NEEDS)
    get_property(below TARGET room_${need} PROPERTY MR_CLOSURE)
    list(APPEND closure ${below})
  endforeach()
  list(REMOVE_DUPLICATES closure)
  foreach(header IN LISTS R_OWNS)
    set_property(GLOBAL APPEND PROPERTY MR_SHELF "${header}=${R_NAME}")
    if(NOT EXISTS ${MR_ROOT}/include/${header})
      message(FATAL_ERROR "room ${R_NAME} owns ${header}, which is not there")
    endif()
  endforeach()

  add_library(${lib} STATIC ${R_SOURCES})
  set_property(TARGET ${lib} PROPERTY MR_CLOSURE ${closure})
  target_include_directories(${lib} PUBLIC ${MR_ROOT}/include
                                    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(${lib} PRIVATE
    "$<$<COMPILE_LANGUAGE:C>:${MR_WARNINGS}>")
  foreach(need IN LISTS R_NEEDS)
    target_link_libraries(${lib} PUBLIC room_${need})
  endforeach()
  target_link_libraries(${lib} PUBLIC ${R_LIBS})
  mr_room_simd(${lib} "${R_SIMD}")
  mr_room_proto(${lib} "${R_PROTO}")

  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h
       ${CMAKE_CURRENT_SOURCE_DIR}/*/*.h)
  set(files ${R_SOURCES} ${R_SIMD} ${R_OWNS})
  list(TRANSFORM R_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
  list(FILTER R_SOURCES INCLUDE REGEX "^/")
  list(TRANSFORM R_SIMD PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE simd)
  list(TRANSFORM R_OWNS PREPEND ${MR_ROOT}/include/ OUTPUT_VARIABLE owned)
  list(FILTER sources EXCLUDE REGEX "${PROJECT_BINARY_DIR}")
  mr_room_check(${lib} ${R_NAME} "${sources};${simd};${headers};${owned}" "${closure}")

  if(MR_TESTS)
    foreach(check IN LISTS R_CHECKS)
      mr_check(${R_NAME} ${check} ${lib})
    endforeach()
  endif()
  if(MR_TESTS AND NOT MR_ENGINE_ALONE) # cmocka is not there
    foreach(test IN LISTS R_TESTS)
      mr_test(${R_NAME} ${test} ${lib})
    endforeach()
    foreach(target IN LISTS R_FUZZ)
      mr_fuzz(${R_NAME} ${target} ${lib})
    endforeach()
  endif()
endfunction()

# One object library a level; the room picks a table at run time by mri_cpu().
function(mr_room_simd lib files)
  foreach(file IN LISTS files)
    get_filename_component(stem ${file} NAME_WE)
    foreach(level IN LISTS MR_LEVELS)
      set(object ${lib}_${stem}_${level})
      add_library(${object} OBJECT ${file})
      target_include_directories(${object} PRIVATE ${MR_ROOT}/include
                                                   ${CMAKE_CURRENT_SOURCE_DIR})
      target_compile_definitions(${object} PRIVATE MRI_LEVEL=${level})
      target_compile_options(${object} PRIVATE ${MR_WARNINGS}
                                               ${MR_LEVEL_FLAGS_${level}})
      target_sources(${lib} PRIVATE $<TARGET_OBJECTS:${object}>)
      set_property(TARGET ${lib} APPEND PROPERTY MR_SIMD_OBJECTS ${object})
    endforeach()
  endforeach()
endfunction()

# Generated protobuf code is not ours to warn about: -w.
function(mr_room_proto lib files)
  foreach(file IN LISTS files)
    get_filename_component(stem ${file} NAME_WE)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/proto)
    file(MAKE_DIRECTORY ${out})
    add_custom_command(
      OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
      COMMAND protoc-c --c_out=${out} -I ${CMAKE_CURRENT_SOURCE_DIR}
              ${CMAKE_CURRENT_SOURCE_DIR}/${file}
      DEPENDS ${file} VERBATIM)
    target_sources(${lib} PRIVATE ${out}/${stem}.pb-c.c)
    set_source_files_properties(${out}/${stem}.pb-c.c PROPERTIES COMPILE_OPTIONS -w)
    target_include_directories(${lib} SYSTEM PRIVATE ${out})
    set_property(TARGET ${lib} PROPERTY MR_PROTO_DIR ${out})
  endforeach()
endfunction()

function(mr_room_check lib name files closure)
  set(stamp ${CMAKE_CURRENT_BINARY_DIR}/${lib}.includes)
  set(list_file ${CMAKE_CURRENT_BINARY_DIR}/${lib}.files)
  list(REMOVE_DUPLICATES files)
  list(FILTER files EXCLUDE REGEX "^$")
  # A folder inside this one may be a room of its own (base/ext in base).
  file(GLOB inner RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
       ${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt)
  foreach(room IN LISTS inner)
    get_filename_component(folder ${room} DIRECTORY)
    list(FILTER files EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${folder}/")
  endforeach()
  string(REPLACE ";" "\n" text "${files}")
  file(CONFIGURE OUTPUT ${list_file} CONTENT "${text}\n" @ONLY)
  add_custom_command(
    OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -DROOM=${name} -DROOT=${MR_ROOT}
            "-DCLOSURE=${closure}" -DLIST=${list_file} -DSHELF=${MR_SHELF_FILE}
            -P ${MR_ROOT}/cmake/check_includes.cmake
    COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
    DEPENDS ${files} ${list_file} ${MR_ROOT}/cmake/check_includes.cmake
    VERBATIM)
  add_custom_target(${lib}_includes DEPENDS ${stamp})
  add_dependencies(${lib} ${lib}_includes)
  get_property(objects TARGET ${lib} PROPERTY MR_SIMD_OBJECTS)
  foreach(object IN LISTS objects)
    add_dependencies(${object} ${lib}_includes)
  endforeach()
endfunction()

# A unit test: cmocka, beside the code, sees the room from inside.
function(mr_test room file lib)
  get_filename_component(stem ${file} NAME_WE)
  set(exe ${room}_${stem})
  add_executable(${exe} ${file})
  target_include_directories(${exe} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
                                            ${MR_ROOT}/tests/support)
  get_property(proto TARGET ${lib} PROPERTY MR_PROTO_DIR)
  if(proto)
    target_include_directories(${exe} SYSTEM PRIVATE ${proto})
    add_dependencies(${exe} ${lib})
  endif()
  target_compile_options(${exe} PRIVATE ${MR_WARNINGS})
  target_link_libraries(${exe} PRIVATE ${lib} test_support)
  add_test(NAME ${room}/${stem} COMMAND ${exe})
  set_tests_properties(${room}/${stem} PROPERTIES TIMEOUT 600
    SKIP_RETURN_CODE 77 LABELS unit)
endfunction()

# An engine check: own main, no cmocka; 77 says skipped.
function(mr_check room file lib)
  get_filename_component(stem ${file} NAME_WE)
  set(exe ${room}_${stem})
  add_executable(${exe} ${file})
  target_include_directories(${exe} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(${exe} PRIVATE ${MR_WARNINGS})
  target_link_libraries(${exe} PRIVATE ${lib})
  add_test(NAME ${room}/${stem} COMMAND ${exe})
  set_tests_properties(${room}/${stem} PROPERTIES TIMEOUT 600
    SKIP_RETURN_CODE 77 LABELS check)
endfunction()

# clang builds libFuzzer; any compiler builds the same file with replay.c and
# runs the corpus (an empty corpus is a failure).
function(mr_fuzz room file lib)
  get_filename_component(stem ${file} NAME_WE)
  set(exe ${room}_${stem})
  set(corpus ${MR_ROOT}/tests/fuzz/corpus/${stem})
  add_executable(${exe} ${file})
  target_include_directories(${exe} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
                                            ${MR_ROOT}/tests/support)
  get_property(proto TARGET ${lib} PROPERTY MR_PROTO_DIR)
  if(proto)
    target_include_directories(${exe} SYSTEM PRIVATE ${proto})
    add_dependencies(${exe} ${lib})
  endif()
  target_compile_options(${exe} PRIVATE ${MR_WARNINGS} -Wno-missing-prototypes)
  target_link_libraries(${exe} PRIVATE ${lib})
  if(MR_FUZZ)
    target_link_options(${exe} PRIVATE -fsanitize=fuzzer)
    set_property(GLOBAL APPEND PROPERTY MR_FUZZERS
                 $<TARGET_FILE:${exe}>=${corpus})
  else()
    target_sources(${exe} PRIVATE ${MR_ROOT}/tests/fuzz/replay.c)
    add_test(NAME fuzz/${stem} COMMAND ${exe} ${corpus})
    set_tests_properties(fuzz/${stem} PROPERTIES TIMEOUT 300 LABELS fuzz)
  endif()
endfunction()

# After the last room: who owns what, for the check and for the header test.
function(mr_house_done)
  get_property(shelf GLOBAL PROPERTY MR_SHELF)
  get_property(fuzzers GLOBAL PROPERTY MR_FUZZERS)
  list(SORT shelf)
  string(REPLACE ";" "\n" text "${shelf}")
  file(CONFIGURE OUTPUT ${MR_SHELF_FILE} CONTENT "${text}\n" @ONLY)
  string(REPLACE ";" "\n" text "${fuzzers}")
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/fuzzers.txt CONTENT "${text}\n")
endfunction()

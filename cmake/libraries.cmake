# SPDX-License-Identifier: Apache-2.0
# Two libraries out of the rooms, each static and shared, and all that
# `cmake --install` puts in place.
#
# Two, so that reading a shard does not drag oneDNN and cairo in. The program
# links the rooms themselves, not the libraries: one file to copy, nothing to
# find at the start, and the linker leaves out what no verb uses.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(MR_LIBRARY_millrace base base_ext format wire stream ingest)
set(MR_LIBRARY_millrace_train engine model weights run eval)
set(MR_LIBRARY_none check synth tools)

# A room on no list would be missing from the libraries without a word.
get_property(rooms GLOBAL PROPERTY MR_ROOMS)
foreach(room IN LISTS rooms)
  if(NOT room IN_LIST MR_LIBRARY_millrace AND NOT room IN_LIST
     MR_LIBRARY_millrace_train AND NOT room IN_LIST MR_LIBRARY_none)
    message(FATAL_ERROR "room '${room}' belongs to no library: name it in one "
            "of the lists MR_LIBRARY_* in cmake/libraries.cmake")
  endif()
endforeach()

# The objects of the rooms of one library, and what those rooms link.
function(mr_library_parts rooms objects_out libs_out)
  get_property(all GLOBAL PROPERTY MR_ROOMS)
  foreach(room IN LISTS rooms)
    if(NOT room IN_LIST all)
      continue()
    endif()
    list(APPEND objects $<TARGET_OBJECTS:room_${room}>)
    get_property(simd TARGET room_${room} PROPERTY MR_SIMD_OBJECTS)
    foreach(object IN LISTS simd)
      list(APPEND objects $<TARGET_OBJECTS:${object}>)
    endforeach()
    get_property(uses TARGET room_${room} PROPERTY LINK_LIBRARIES)
    list(APPEND libs ${uses})
  endforeach()
  list(REMOVE_DUPLICATES libs)
  list(FILTER libs EXCLUDE REGEX "^room_")
  set(${objects_out} ${objects} PARENT_SCOPE)
  set(${libs_out} ${libs} PARENT_SCOPE)
endfunction()

# The same libraries as pkg-config knows them: modules with a .pc file, and
# flags for those without.
function(mr_pkgconfig_names libs modules_out flags_out)
  set(modules "")
  set(flags "")
  foreach(lib IN LISTS libs)
    if(lib MATCHES "^PkgConfig::(.*)$")
      list(APPEND modules ${MR_MODULE_${CMAKE_MATCH_1}})
    elseif(lib STREQUAL "Threads::Threads")
      list(APPEND flags -pthread)
    else()
      list(APPEND flags -l${lib})
    endif()
  endforeach()
  set(${modules_out} ${modules} PARENT_SCOPE)
  set(${flags_out} ${flags} PARENT_SCOPE)
endfunction()

function(mr_pkgconfig_file PC_NAME PC_ABOUT)
  set(lists REQUIRES REQUIRES_PRIVATE LIBS LIBS_PRIVATE)
  cmake_parse_arguments(PC "" "" "${lists}" ${ARGN})
  foreach(list IN LISTS lists)
    list(JOIN PC_${list} " " PC_${list})
  endforeach()
  file(RELATIVE_PATH PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" PC_UP ${PC_UP})
  set(file ${PROJECT_BINARY_DIR}/lib/pkgconfig/${PC_NAME}.pc)
  configure_file(${MR_ROOT}/cmake/library.pc.in ${file} @ONLY)
  install(FILES ${file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

# mr_library(millrace ABOUT "one line" [BELOW millrace])
function(mr_library name)
  cmake_parse_arguments(L "" "ABOUT;BELOW" "" ${ARGN})
  mr_library_parts("${MR_LIBRARY_${name}}" objects libs)
  mr_pkgconfig_names("${libs}" modules flags)

  # The static one is a single object whose inner names are local: they cannot
  # meet those of the program that links it.
  set(single ${PROJECT_BINARY_DIR}/lib/${name}.o)
  add_custom_command(OUTPUT ${single}
    COMMAND ${CMAKE_LINKER} -r -o ${single} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${single}
    DEPENDS ${objects} COMMAND_EXPAND_LISTS VERBATIM)
  add_library(${name}_shared SHARED ${objects})
  add_library(${name}_static STATIC ${single})

  foreach(target ${name}_shared ${name}_static)
    set_target_properties(${target} PROPERTIES
      OUTPUT_NAME ${name} LINKER_LANGUAGE C
      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
      LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
      ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
    target_include_directories(${target} INTERFACE
      $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    install(TARGETS ${target} EXPORT ${target}
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endforeach()

  set(map ${MR_ROOT}/cmake/millrace.map)
  target_link_options(${name}_shared PRIVATE
    -Wl,-z,defs -Wl,--version-script=${map})
  set_property(TARGET ${name}_shared PROPERTY LINK_DEPENDS ${map})
  target_link_libraries(${name}_shared PRIVATE ${libs})
  # What a static library needs is found anew on the machine that links it.
  target_link_libraries(${name}_static INTERFACE
    $<INSTALL_INTERFACE:millrace::${name}_private>)
  if(L_BELOW) # beside this one, wherever that is
    set_property(TARGET ${name}_shared PROPERTY INSTALL_RPATH $ORIGIN)
    target_link_libraries(${name}_shared PUBLIC ${L_BELOW}_shared)
    target_link_libraries(${name}_static INTERFACE ${L_BELOW}_static)
  endif()
  set_property(TARGET ${name}_shared PROPERTY EXPORT_NAME ${name})

  list(JOIN flags " " flags_text)
  mr_pkgconfig_file(${name} "${L_ABOUT}" REQUIRES ${L_BELOW} LIBS -l${name}
    REQUIRES_PRIVATE ${modules} LIBS_PRIVATE ${flags})
  # Not by `pkg-config --static millrace`: that wants static forms of all that
  # is below, and those of libzmq do not link as Debian ships them.
  if(L_BELOW)
    string(APPEND L_BELOW _static)
  endif()
  mr_pkgconfig_file(${name}_static "${L_ABOUT}" REQUIRES ${L_BELOW} ${modules}
    LIBS -l:lib${name}.a ${flags})
  string(APPEND MR_PRIVATE_CALLS
    "  millrace_private(${name} \"${modules}\" ${flags_text})\n")
  set(MR_PRIVATE_CALLS "${MR_PRIVATE_CALLS}" PARENT_SCOPE)
  set(MR_PRIVATE_MODULES ${MR_PRIVATE_MODULES} ${modules} PARENT_SCOPE)
endfunction()

# A sanitizer's runtime belongs to the program: no library for strangers then.
if(NOT MR_SANITIZE AND NOT MR_FUZZ)
  mr_library(millrace ABOUT
    "Shards of biomedical images: ingest, read and stream them")
  mr_library(millrace_train BELOW millrace ABOUT
    "Train and evaluate networks on streams of millrace")

  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/millrace)
  foreach(set millrace_shared millrace_static millrace_train_shared
          millrace_train_static)
    install(EXPORT ${set} DESTINATION ${package} NAMESPACE millrace::)
  endforeach()
  configure_package_config_file(cmake/millrace-config.cmake.in
    ${PROJECT_BINARY_DIR}/millrace-config.cmake
    INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/millrace-config-version.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/millrace-config.cmake
                ${PROJECT_BINARY_DIR}/millrace-config-version.cmake
          DESTINATION ${package})
  install(DIRECTORY include/millrace DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()

install(TARGETS millrace RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Manual pages and completions, from the program's own tables: it must run.
if(NOT CMAKE_CROSSCOMPILING AND TARGET millrace_shared)
  set(share ${PROJECT_BINARY_DIR}/share)
  add_custom_command(OUTPUT ${share}/stamp
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:millrace> -DOUT=${share}
            -DPAGE=${MR_ROOT}/docs/man/millrace.1.in
            -DVERSION=${PROJECT_VERSION} -P ${MR_ROOT}/cmake/man.cmake
    COMMAND ${CMAKE_COMMAND} -E touch ${share}/stamp
    DEPENDS millrace ${MR_ROOT}/docs/man/millrace.1.in
            ${MR_ROOT}/cmake/man.cmake
    VERBATIM)
  add_custom_target(share ALL DEPENDS ${share}/stamp)
  install(DIRECTORY ${share}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
  install(DIRECTORY ${share}/bash-completion ${share}/zsh ${share}/fish
          DESTINATION ${CMAKE_INSTALL_DATADIR})
endif()

file(GLOB pages CONFIGURE_DEPENDS ${MR_ROOT}/docs/*.md)
install(FILES ${pages} LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/recipes DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

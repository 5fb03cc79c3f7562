# SPDX-License-Identifier: Apache-2.0
# What the house leans on. The engine alone needs none of it.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(NOT MR_ENGINE_ALONE)
  find_package(PkgConfig REQUIRED)
  foreach(pair ZMQ=libzmq LZ4=liblz4 ZSTD=libzstd PROTOBUFC=libprotobuf-c JPEG=libjpeg
               TIFF=libtiff-4 SPNG=spng DEFLATE=libdeflate ZLIB=zlib
               XXHASH=libxxhash YAML=yaml-0.1 JANSSON=jansson
               CRYPTO=libcrypto CAIRO=cairo)
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 name)
    list(GET pair 1 module)
    pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
    set(MR_MODULE_${name} ${module}) # for the .pc files
  endforeach()
  find_program(PROTOC_C protoc-c REQUIRED)
  if(MR_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  endif()
endif()

# Back ends of the engine: found or left out, and said so. The distribution's
# own dnnl-config.cmake wants OpenCL headers, which nothing here needs.
find_path(DNNL_INCLUDE dnnl.h)
find_library(DNNL_LIBRARY dnnl)
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  set(MR_HAVE_DNNL ON)
  file(STRINGS ${DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h dnnl_lines
       REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]+" "" dnnl_version "${dnnl_lines}")
  list(JOIN dnnl_version "." dnnl_version)
  add_library(dnnl INTERFACE)
  target_include_directories(dnnl SYSTEM INTERFACE ${DNNL_INCLUDE})
  target_link_libraries(dnnl INTERFACE ${DNNL_LIBRARY})
  message(STATUS "engine: cpu back end over oneDNN ${dnnl_version}")
else()
  set(MR_HAVE_DNNL OFF)
  message(STATUS "engine: no oneDNN (libdnnl-dev), so no cpu back end")
endif()

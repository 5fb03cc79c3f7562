# SPDX-License-Identifier: Apache-2.0
# CUDA: found or left out, and said so. MR_CUDA=AUTO leaves it out where it is
# not whole, ON makes that an error. The back end is a module (settled by
# measurement: linked into the program it costs 60 ms and 214 MB at each start).
#
# Out: MR_HAVE_CUDA, MR_CUDA_FACTS (one line), MR_CUDNN_FACTS, MR_NCCL_FACTS
set(MR_HAVE_CUDA OFF)
set(MR_CUDA_FACTS "CUDA was left out when this was configured")
set(MR_CUDNN_FACTS "not looked for")
set(MR_NCCL_FACTS "not looked for")
if(NOT MR_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "MR_CUDA is AUTO, ON or OFF, not '${MR_CUDA}'")
endif()

macro(mr_no_cuda why)
  if(MR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MR_CUDA=ON, but there is no cuda back end: ${why}")
  endif()
  set(MR_CUDA_FACTS "${why}")
  message(STATUS "engine: no cuda back end: ${why}")
endmacro()

# A library that the report names; nothing links it until something uses it.
# In: name, what its root variable is, header, prefix of its version macros.
function(mr_look_for name root header prefix library)
  set(places $ENV{${root}} ${${root}} ${CUDAToolkit_INCLUDE_DIRS} /usr
             /usr/local)
  if(MR_PYTHON)
    execute_process(COMMAND ${MR_PYTHON} -c
      "import sysconfig as s; print(s.get_paths()['purelib'])"
      OUTPUT_VARIABLE site OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(APPEND places ${site}/nvidia/${library})
  endif()
  find_path(MR_${name}_INCLUDE ${header} PATHS ${places}
            PATH_SUFFIXES include . NO_CACHE NO_DEFAULT_PATH)
  if(NOT MR_${name}_INCLUDE)
    set(facts "absent (looked for ${header} under ${root}, the CUDA folder, /usr, Python's nvidia packages)")
  else()
    file(STRINGS ${MR_${name}_INCLUDE}/${header} lines
         REGEX "define ${prefix}_(MAJOR|MINOR|PATCHLEVEL|PATCH) ")
    string(REGEX REPLACE "[^0-9;]+" "" version "${lines}")
    list(JOIN version "." version)
    set(facts "${version} in ${MR_${name}_INCLUDE}; no operation uses it")
  endif()
  set(MR_${name}_FACTS "${facts}" PARENT_SCOPE)
endfunction()

# Code for what is asked for and nvcc knows, and PTX of the last of it: PTX of
# a newer one would shut out the devices between.
function(mr_cuda_architectures)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch
                  OUTPUT_VARIABLE known)
  set(chosen "")
  foreach(arch 80 90 100)
    if(known MATCHES "compute_${arch}\n")
      list(APPEND chosen ${arch})
    endif()
  endforeach()
  list(POP_BACK chosen last)
  list(TRANSFORM chosen APPEND "-real")
  list(APPEND chosen ${last})
  set(CMAKE_CUDA_ARCHITECTURES "${chosen}" CACHE STRING "GPUs to compile for")
endfunction()

macro(mr_find_cuda)
  find_program(MR_NVCC nvcc HINTS $ENV{CUDACXX} PATHS ${CUDAToolkit_ROOT}/bin
    $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin
    DOC "NVIDIA's compiler")
  find_program(MR_PYTHON python3)
  mark_as_advanced(MR_NVCC MR_PYTHON)
  if(MR_SANITIZE OR MR_FUZZ)
    mr_no_cuda("not with sanitizers or fuzzers; its kernels run emulated")
  elseif(NOT MR_NVCC)
    mr_no_cuda("nvcc was not found (PATH, CUDA_HOME, /usr/local/cuda)")
  else()
    if(NOT CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_COMPILER ${MR_NVCC})
    endif()
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      mr_cuda_architectures()
    endif()
    include(CheckLanguage)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
      mr_no_cuda("${MR_NVCC} cannot compile (it needs a C++ compiler that it knows)")
    else()
      enable_language(CUDA)
      find_package(CUDAToolkit QUIET)
      if(NOT TARGET CUDA::cublasLt OR NOT TARGET CUDA::cudart_static)
        mr_no_cuda("cublasLt or the static runtime is missing beside ${MR_NVCC}")
      elseif(NOT EXISTS ${CUDAToolkit_INCLUDE_DIRS}/cublasLt.h)
        mr_no_cuda("cublasLt.h is missing in ${CUDAToolkit_INCLUDE_DIRS}")
      else()
        set(MR_HAVE_CUDA ON)
      endif()
    endif()
  endif()
endmacro()

if(MR_CUDA STREQUAL "OFF")
  set(MR_CUDA_FACTS "MR_CUDA=OFF")
  message(STATUS "engine: no cuda back end: MR_CUDA=OFF")
else()
  mr_find_cuda()
endif()
if(MR_HAVE_CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
  set(CMAKE_CUDA_FLAGS_DEBUG "-O3 -g") # device code stays optimised
  mr_look_for(CUDNN CUDNN_ROOT cudnn_version.h CUDNN cudnn)
  mr_look_for(NCCL NCCL_ROOT nccl.h NCCL nccl)
  list(JOIN CMAKE_CUDA_ARCHITECTURES " " archs)
  set(MR_CUDA_FACTS "CUDA ${CUDAToolkit_VERSION}, compiled for ${archs}")
  message(STATUS "engine: cuda back end over ${MR_CUDA_FACTS}")
  message(STATUS "engine: cuDNN ${MR_CUDNN_FACTS}")
  message(STATUS "engine: NCCL ${MR_NCCL_FACTS}")
endif()

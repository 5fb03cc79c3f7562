# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)
# Refuse functions of libm whose bits depend on the CPU that glibc finds.
# In: NM, CC, LIBS (static libraries). Everything libm exports is known to be
# from there; only what IEEE 754 rounds correctly may be used.
set(allowed sqrt sqrtf fabs fabsf floor floorf ceil ceilf rint rintf fma fmaf)
execute_process(COMMAND ${CC} -print-file-name=libm.so.6
                OUTPUT_VARIABLE libm OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${NM} -D --defined-only ${libm}
                OUTPUT_VARIABLE exports RESULT_VARIABLE failed)
if(failed OR exports STREQUAL "")
  message("skipped: no ${libm} to read the names from")
  return()
endif()
string(REGEX REPLACE "@[^\n]*" "" exports "${exports}")
string(REGEX REPLACE "[0-9a-f]+ [A-Za-z] " "" exports "${exports}")
string(REPLACE "\n" ";" exports "${exports}")
foreach(lib IN LISTS LIBS)
  execute_process(COMMAND ${NM} -u ${lib} OUTPUT_VARIABLE used
                  RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "cannot read ${lib}")
  endif()
  string(REGEX MATCHALL "U [A-Za-z_0-9]+" used "${used}")
  list(REMOVE_DUPLICATES used)
  foreach(name IN LISTS used)
    string(SUBSTRING ${name} 2 -1 name)
    if(name IN_LIST exports AND NOT name IN_LIST allowed)
      message(FATAL_ERROR "${lib} imports ${name} from libm: its bits differ "
              "from CPU to CPU; use mri/fmath.h")
    endif()
  endforeach()
endforeach()

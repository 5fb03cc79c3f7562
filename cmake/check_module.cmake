# SPDX-License-Identifier: Apache-2.0
# A back end's module shows one symbol, and needs of other libraries what is
# meant: libc and cuBLASLt, not the driver, which machines without a GPU lack.
# In: MODULE, NM, READELF.
execute_process(COMMAND ${NM} -D --defined-only ${MODULE}
                OUTPUT_VARIABLE text RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "cannot read ${MODULE}")
endif()
string(REGEX MATCHALL "[A-Za-z_0-9.]+\n" names "${text}")
if(NOT names STREQUAL "mri_backend_v1\n")
  message(FATAL_ERROR "${MODULE} shows more than mri_backend_v1:\n${text}")
endif()
execute_process(COMMAND ${READELF} -d ${MODULE} OUTPUT_VARIABLE text)
string(REGEX MATCHALL "NEEDED[^\n]*" needed "${text}")
if(NOT needed MATCHES "libcublasLt")
  message(FATAL_ERROR "${MODULE} does not name libcublasLt:\n${needed}")
endif()
if(needed MATCHES "libcuda|libcudart|libstdc|libmillrace|libdnnl")
  message(FATAL_ERROR "${MODULE} needs a library too many:\n${needed}")
endif()

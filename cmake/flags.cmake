# SPDX-License-Identifier: Apache-2.0
# One place for how every file is compiled.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Asserts stay on in a release: they guard the format and the protocol.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

# Contraction is off: a compiler that fuses a * b + c gives other bits with
# another CPU, and a batch would no longer be a function of its arguments.
add_compile_options($<$<COMPILE_LANGUAGE:C>:-ffp-contract=off>
                    $<$<COMPILE_LANGUAGE:C>:-fno-fast-math>)
add_compile_definitions(_GNU_SOURCE)

set(MR_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wwrite-strings
    -Wundef -Wformat=2 -Wvla)

if(MR_FUZZ)
  # All rooms report what they cover, or the fuzzer would search blindly;
  # checksums of foreign formats do not count (house rule).
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_compile_definitions(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
endif()
if(MR_SANITIZE)
  add_compile_options(-fsanitize=${MR_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MR_SANITIZE})
  if(MR_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
else()
  add_compile_options($<$<COMPILE_LANGUAGE:C>:-fstack-protector-strong>
                      $<$<COMPILE_LANGUAGE:C>:-fstack-clash-protection>)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_compile_options($<$<COMPILE_LANGUAGE:C>:-fcf-protection>)
  endif()
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    add_compile_options("$<$<COMPILE_LANGUAGE:C>:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>")
  endif()
  add_link_options(-Wl,-z,relro -Wl,-z,now)
endif()

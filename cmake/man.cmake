# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)
# Ask the program for its manual pages and completions, so that they say what
# its tables of options say. In: PROGRAM, PAGE (millrace.1.in), VERSION, OUT.
function(ask file)
  execute_process(COMMAND ${PROGRAM} ${ARGN} OUTPUT_FILE ${file}
                  RESULT_VARIABLE rc)
  if(NOT rc EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} ${ARGN} ended with ${rc}")
  endif()
endfunction()

set(man ${OUT}/man/man1)
file(MAKE_DIRECTORY ${man} ${OUT}/bash-completion/completions
     ${OUT}/zsh/site-functions ${OUT}/fish/vendor_completions.d)
ask(${OUT}/verbs --verbs)
file(STRINGS ${OUT}/verbs verbs)
foreach(line IN LISTS verbs)
  string(REGEX MATCH "^([^\t]+)\t(.*)$" line "${line}")
  set(verb ${CMAKE_MATCH_1})
  ask(${man}/millrace-${verb}.1 ${verb} --roff)
  string(REPLACE "-" "\\-" about "${CMAKE_MATCH_2}")
  string(APPEND VERBS ".TP\n.BR millrace\\-${verb} (1)\n${about}\n")
  list(APPEND SEE_ALSO ".BR millrace\\-${verb} (1)")
  # A kind that has options of its own has a page of its own.
  execute_process(COMMAND ${PROGRAM} ${verb} --kinds OUTPUT_VARIABLE kinds)
  string(STRIP "${kinds}" kinds)
  string(REPLACE "\n" ";" kinds "${kinds}")
  foreach(kind IN LISTS kinds)
    execute_process(COMMAND ${PROGRAM} ${verb} ${kind} --names
                    OUTPUT_QUIET ERROR_QUIET RESULT_VARIABLE rc)
    if(rc EQUAL 0)
      ask(${man}/millrace-${verb}-${kind}.1 ${verb} ${kind} --roff)
      list(APPEND SEE_ALSO ".BR millrace\\-${verb}\\-${kind} (1)")
    endif()
  endforeach()
endforeach()
list(JOIN SEE_ALSO ",\n" SEE_ALSO)

# The date of all pages is that of the options, not of the build.
file(STRINGS ${man}/millrace-${verb}.1 head REGEX "^\\.TH ")
string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*$" "\\1" DATE "${head}")
configure_file(${PAGE} ${man}/millrace.1 @ONLY)

ask(${OUT}/bash-completion/completions/millrace completion bash)
ask(${OUT}/zsh/site-functions/_millrace completion zsh)
ask(${OUT}/fish/vendor_completions.d/millrace.fish completion fish)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_completion.c - millrace completion: what a shell needs to complete a
 * command line. The scripts hold no list: they ask the program that stands in
 * the line, so that they are true for whichever version that is.
 */
#include "cli.h"

#include <mri/error.h>

#include <string.h>

/* --names prints a line an option: name, argument, help, parted by tabs;
 * --kinds what a verb's first argument may be, if it has kinds. A kind may have
 * options of its own ("eval knn"), or not ("synth cells"). */
static const char bash[] =
    "# bash completion of millrace; source it, or put it into\n"
    "# ~/.local/share/bash-completion/completions/millrace\n"
    "_millrace_names() {\n"
    "    \"${COMP_WORDS[0]}\" \"${COMP_WORDS[1]}\" \"${COMP_WORDS[2]}\" "
    "--names ||\n"
    "        \"${COMP_WORDS[0]}\" \"${COMP_WORDS[1]}\" --names\n"
    "}\n"
    "_millrace() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]}\n"
    "    local prev=${COMP_WORDS[COMP_CWORD - 1]} words=\n"
    "    local program=${COMP_WORDS[0]} verb=${COMP_WORDS[1]}\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
    "        words=$(\"$program\" --verbs 2>/dev/null | cut -f 1)\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        words=$(_millrace_names 2>/dev/null | cut -f 1)\n"
    "    elif [[ $prev == -* ]]; then\n"
    "        words=$(_millrace_names 2>/dev/null |\n"
    "            awk -F '\\t' -v o=\"$prev\" '$1 == o && $2 ~ /\\|/ {\n"
    "                gsub(/\\|/, \" \", $2); print $2 }')\n"
    "    elif [ \"$COMP_CWORD\" = 2 ]; then\n"
    "        words=$(\"$program\" \"$verb\" --kinds 2>/dev/null)\n"
    "    fi\n"
    "    [ -z \"$words\" ] ||\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "}\n"
    "complete -o default -F _millrace millrace\n";

static const char zsh[] =
    "#compdef millrace\n"
    "# zsh completion of millrace; put it as _millrace into a folder of fpath\n"
    "_millrace() {\n"
    "    local program=$words[1] line\n"
    "    local -a lines items parts kinds\n"
    "    if (( CURRENT == 2 )); then\n"
    "        lines=(${(f)\"$($program --verbs 2>/dev/null)\"})\n"
    "    elif [[ $words[CURRENT] == -* || $words[CURRENT-1] == -* ]]; then\n"
    "        lines=(${(f)\"$($program $words[2] $words[3] --names 2>/dev/null "
    "||\n"
    "            $program $words[2] --names 2>/dev/null)\"})\n"
    "    elif (( CURRENT == 3 )); then\n"
    "        kinds=(${(f)\"$($program $words[2] --kinds 2>/dev/null)\"})\n"
    "    fi\n"
    "    if (( $#kinds )); then\n"
    "        compadd -- $kinds\n"
    "        return\n"
    "    fi\n"
    "    if (( CURRENT > 2 )) && [[ $words[CURRENT] != -* ]]; then\n"
    "        for line in $lines; do\n"
    "            parts=(\"${(@ps:\\t:)line}\")\n"
    "            if [[ $parts[1] == $words[CURRENT-1] && $parts[2] == *\\|* "
    "]]\n"
    "            then\n"
    "                compadd -- ${(s:|:)parts[2]}\n"
    "                return\n"
    "            fi\n"
    "        done\n"
    "        _files\n"
    "        return\n"
    "    fi\n"
    "    for line in $lines; do\n"
    "        parts=(\"${(@ps:\\t:)line}\")\n"
    "        items+=(\"$parts[1]:${parts[-1]//:/\\\\:}\")\n"
    "    done\n"
    "    _describe millrace items\n"
    "}\n"
    "compdef _millrace millrace\n";

static const char fish[] =
    "# fish completion of millrace; put it as millrace.fish into\n"
    "# ~/.config/fish/completions\n"
    "function __millrace_names\n"
    "    set -l words (commandline -opc)\n"
    "    begin\n"
    "        $words[1] $words[2] $words[3] --names 2>/dev/null\n"
    "        or $words[1] $words[2] --names 2>/dev/null\n"
    "    end | string replace -r '\\t[^\\t]*\\t' '\\t'\n"
    "    if test (count $words) = 2\n"
    "        $words[1] $words[2] --kinds 2>/dev/null\n"
    "    end\n"
    "end\n"
    "complete -c millrace -n __fish_use_subcommand -xa '(millrace --verbs)'\n"
    "complete -c millrace -n 'not __fish_use_subcommand' -a "
    "'(__millrace_names)'\n";

static const struct {
    const char *shell, *script;
} scripts[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

static mr_err
print_script(const char *shell, mr_diag *diag)
{
    for (size_t i = 0; i < MRI_COUNT(scripts); i++) {
        if (strcmp(scripts[i].shell, shell) == 0) {
            (void)fputs(scripts[i].script, stdout);
            return MR_OK;
        }
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "no completion for '%s': expected bash, zsh or fish",
                    shell);
}

int
mri_cmd_completion(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "completion",
        .args = "SHELL",
        .summary = "what bash, zsh or fish need to complete a command line",
        .examples = "  . <(millrace completion bash)\n"
                    "      for this shell\n"
                    "  millrace completion zsh > ~/.zfunc/_millrace\n"
                    "      for every zsh that has ~/.zfunc in its fpath\n",
        .kinds = "bash zsh fish",
    };
    const mri_opt opts[] = {{MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false}};
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = mri_cli_args(&cli, 1, 1, &diag);
    if (err == MR_OK) {
        err = print_script(cli.rest.at[0], &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}

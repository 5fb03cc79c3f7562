# SPDX-License-Identifier: Apache-2.0
# Every verb has a manual page that mandoc finds nothing wrong with, and the
# shells complete verbs, options and the values of options.
. "$(dirname "$0")/house.sh"

program=$BUILD/bin/millrace
share=$BUILD/share
"$program" --verbs | cut -f 1 >"$scratch/verbs"
while read -r verb; do
    [ -s "$share/man/man1/millrace-$verb.1" ] || fail "no page for $verb"
    grep -q "millrace..$verb" "$share/man/man1/millrace.1" ||
        fail "millrace(1) does not name $verb"
    for kind in $("$program" "$verb" --kinds); do # with options of its own?
        if "$program" "$verb" "$kind" --names >/dev/null 2>&1; then
            [ -s "$share/man/man1/millrace-$verb-$kind.1" ] ||
                fail "no page for $verb $kind"
        fi
    done
done <"$scratch/verbs"

complete_in_bash() { # WORDS...; the last one is being typed
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _millrace; printf "%s\n" "${COMPREPLY[@]}"' bash \
        "$share/bash-completion/completions/millrace" "$program" "$@" |
        tr '\n' ' '
}
expect() { # WANT GOT
    [ "$2" = "$1" ] || fail "completion gives '$2', not '$1'"
}
if command -v bash >/dev/null; then
    expect 'inspect ' "$(complete_in_bash ins)"
    expect '--pipeline ' "$(complete_in_bash batch --pip)"
    expect 'random ' "$(complete_in_bash batch --order r)"
    expect 'features knn plot ' "$(complete_in_bash eval '')"
    expect '--temperature ' "$(complete_in_bash eval knn --temp)"
    expect 'cells ' "$(complete_in_bash synth c)"
    expect '--donors ' "$(complete_in_bash synth cells --don)"
    expect 'auto always never ' "$(complete_in_bash batch --color '')"
fi
for shell in zsh fish; do
    file=$(find "$share/$shell" -type f)
    if command -v "$shell" >/dev/null; then
        "$shell" -n "$file" || fail "$shell does not read $file"
    fi
done

has "$MANDOC" || skip "no mandoc; pages and completions are there"
"$MANDOC" -T lint -W warning "$share"/man/man1/*.1 ||
    fail "mandoc finds fault with these pages"
echo "$(find "$share/man" -name '*.1' | wc -l) pages"

# SPDX-License-Identifier: Apache-2.0
# Folds: who is in which, what a union or a complement of them streams, from
# the dataset and from a server, and that they stay through later generations.
. "$(dirname "$0")/system.sh"

refused() { # WORDS COMMAND...
    words=$1
    shift
    code=0
    "$@" >out 2>refused || code=$?
    [ "$code" = 2 ] && grep -q "$words" refused || {
        cat refused
        fail "exit $code of $*, not 2 and '$words'"
    }
}
lists() { # DATASET OUT: uid or key, group, fold of every sample
    "$MILLRACE" inspect "$1" --samples | tail -n +2 | cut -f 1,3,4 |
        sort >"$2"
}
id() { # SPLIT: what its stream is, by its rows
    "$MILLRACE" batch cells.mr --split "$1" --batch-size 8 --hash=rows ||
        fail "no batches of $1"
}

"$MAKE_INPUT" cells cells 60
"$MILLRACE" ingest cells -o cells.mr -q --group '{group}_*' --folds 5 \
    >/dev/null || fail "cannot ingest folds"
"$MILLRACE" inspect cells.mr | grep -q \
    'fold0 [0-9]*  fold1 [0-9]*  fold2 [0-9]*  fold3 [0-9]*  fold4 [0-9]*' ||
    fail "no five folds"
grep -aq '"shares":\[0.2,0.2,0.2,0.2,0.2\],"folds":5' \
    cells.mr/manifest.*.pb || fail "the recipe does not say it"

# ---- every sample in one fold, every group too ----

lists cells.mr who
[ "$(wc -l <who)" = 60 ] && [ "$(cut -f 1 who | sort -u | wc -l)" = 60 ] ||
    fail "not every sample once"
cut -f 3 who | sort | uniq -c >sizes
[ "$(wc -l <sizes)" = 5 ] || fail "a fold is empty"
[ "$(cut -f 2,3 who | sort -u | cut -f 1 | uniq -d | wc -l)" = 0 ] ||
    fail "a group is in two folds"
echo "60 samples in 5 folds of whole groups"

# ---- unions and complements ----

for i in 0 1 2 3 4; do
    id "fold$i" >"rows.$i"
done
id '!fold2' >but
for i in 0 1 3 4; do
    cut -d ' ' -f 4 "rows.$i"
done | sort >want
cut -d ' ' -f 4 but | sort >got
sed -i '/^0\{32\}$/d' want got # rows that pad a tail
equal "'!fold2' and the other folds" want got
"$MILLRACE" export cells.mr -o exported --split '!fold2' -q >/dev/null ||
    fail "no export"
awk '$3 == "fold2" { print $2 }' who | sort -u >left_out
[ -s left_out ] || fail "fold2 has no groups"
while read -r group; do
    find exported -name "${group}_*" | grep . && fail "$group is not left out"
done <left_out
for text in fold0+fold1+fold3+fold4 fold4+fold0+fold3+fold1; do
    id "$text" >again
    equal "$text" but again
done
id all >all
id fold0+fold1+fold2+fold3+fold4 >every
equal "all folds and all samples" all every

serve a.sock cells.mr
for text in '!fold2' fold4+fold0+fold3+fold1; do
    "$MILLRACE" batch "$address" --split "$text" --batch-size 8 --hash=rows \
        >served || fail "$text is not served"
    equal "$text from a server" but served
done
refused "did you mean 'fold" "$MILLRACE" batch "$address" --split fold5
end_all
echo "unions and complements, from the dataset and from a server"

refused "no split 'fodl1' (did you mean 'fold1'?)" \
    "$MILLRACE" batch cells.mr --split fold0+fodl1
refused "named twice" "$MILLRACE" batch cells.mr --split fold0+fold0
refused "'!' stands once" "$MILLRACE" batch cells.mr --split 'fold0+!fold1'
refused "no split is left" "$MILLRACE" batch cells.mr \
    --split '!fold0+fold1+fold2+fold3+fold4'

# ---- whose mean and deviation ----

cat >none.yaml <<'END'
- crop: {size: 16}
- normalize: {from: dataset}
END
sed 's/dataset/dataset, split: "!fold2"/' none.yaml >named.yaml
refused "no split 'train': name the one" \
    "$MILLRACE" batch cells.mr --split '!fold2' --pipeline none.yaml
for split in '!fold2' fold2; do
    "$MILLRACE" batch cells.mr --split "$split" --pipeline named.yaml \
        >/dev/null || fail "no moments of '!fold2' for $split"
done

# ---- a network that never saw fold2, judged by it ----

"$MILLRACE" train dino cells.mr -o run -q --set data.split='!fold2' \
    --set model.arch=vit_tiny --set model.out_dim=64 --set train.steps=1 \
    --set train.batch_size=4 --set data.global_size=32 \
    --set data.local_size=16 --set data.local_count=1 --set train.threads=1 \
    >/dev/null || fail "cannot train on '!fold2'"
"$MILLRACE" eval features run cells.mr -o run.mrf -q >/dev/null ||
    fail "no features"
"$MILLRACE" eval knn run.mrf --train '!fold2' --test fold2 >/dev/null ||
    fail "no neighbours among folds"
refused "cannot hold split 'fold1'" \
    "$MILLRACE" eval knn run.mrf --train '!fold2' --test fold1
echo "trained on four folds, judged by the fifth"

# ---- what comes later ----

refused 'has 5 folds, not 4' "$MILLRACE" ingest cells -o cells.mr --folds 4
refused 'expected 2 to 100' "$MILLRACE" ingest cells -o new.mr --folds 1
refused 'expected 2 to 100' "$MILLRACE" ingest cells -o new.mr --folds 101
"$MAKE_INPUT" cells more 90
"$MILLRACE" ingest more -o plain.mr -q --group '{group}_*' >/dev/null
refused 'train, val, ... and no folds' \
    "$MILLRACE" ingest more -o plain.mr --folds 5
refused 'is a dataset' "$MILLRACE" ingest plain.mr -o new.mr --folds 5
mkdir parts
cp -r cells parts/train
cp -r more parts/test
refused 'has splits of its own' "$MILLRACE" ingest parts -o new.mr --folds 5
refused 'has splits of its own' "$MILLRACE" ingest parts -o cells.mr
[ ! -e new.mr ] || fail "a refusal left a folder"

mv cells old && mv more cells
"$MILLRACE" ingest cells -o cells.mr -q --group '{group}_*' >/dev/null ||
    fail "cannot add to folds"
lists cells.mr who.2
[ "$(wc -l <who.2)" = 90 ] || fail "not 90 samples"
comm -23 who who.2 | grep . && fail "a sample left its fold"
[ "$(cut -f 2,3 who.2 | sort -u | cut -f 1 | uniq -d | wc -l)" = 0 ] ||
    fail "a group is in two folds after more came"
key=$(cut -f 1 who.2 | head -n 1)
"$MILLRACE" relabel cells.mr "$key" --class star -q >/dev/null ||
    fail "cannot relabel"
"$MILLRACE" withdraw cells.mr "$(cut -f 1 who.2 | tail -n 1)" -q >/dev/null ||
    fail "cannot withdraw"
"$MILLRACE" compact cells.mr -q >/dev/null || fail "cannot compact"
lists cells.mr who.3
sed '$d' who.2 >want
equal "after relabel, withdraw and compact" want who.3
grep -aq '"folds":5' "$(ls cells.mr/manifest.*.pb | tail -n 1)" ||
    fail "the recipe is lost"
"$MILLRACE" verify cells.mr -q >/dev/null || fail "it does not verify"
echo "folds stay"

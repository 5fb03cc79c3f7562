# SPDX-License-Identifier: Apache-2.0
# What users and disks do wrong: each row is a command that must fail, with
# its exit code, the number of the error and the words of its one line. The
# line names place and cause, the one below it the remedy; nothing is left
# behind; nothing crashes or hangs.
. "$(dirname "$0")/system.sh"

rows=0
wrong=0
mkdir yard
cd yard

# All that lies here: names, and contents of files.
listing() {
    find . \( -type f -exec cksum {} + \) -o -print 2>/dev/null | sort
}
complain() { # WHAT
    wrong=$((wrong + 1))
    echo "WRONG: $line"
    echo "       $1"
    sed 's/^/       | /' ../err
}
# What a row leaves behind on purpose; whole files even so.
kept=
# The heart of the table.
row() { # EXIT NUMBER WORDS COMMAND...
    line=$*
    want=$1 number=$2 words=$3
    shift 3
    rows=$((rows + 1))
    listing >../before
    code=0
    timeout 60 "$@" >../out 2>../err </dev/null || code=$?
    if [ -n "$kept" ]; then
        find "$kept" -name '.*' | grep . && complain "half-written files"
        rm -r "$kept"
        kept=
    fi
    listing >../after
    case $code in
    "$want") ;;
    124) complain "it hangs" ;;
    13[0-9]) complain "killed by signal $((code - 128))" ;;
    *) complain "exit $code, not $want" ;;
    esac
    head -n 1 ../err | grep -qE "^millrace: error\[$number\]: .*$words" ||
        complain "the line is not: error[$number]: ... $words"
    sed -n 2p ../err | grep -q '^  help: .' || complain "no remedy"
    [ "$(wc -l <../err)" = 2 ] || complain "more than one line and its remedy"
    cmp -s ../before ../after || {
        complain "it leaves something behind"
        diff ../before ../after | sed 's/^/       /'
    }
}
bad() { # EXIT NUMBER WORDS ARGUMENTS OF millrace...
    want=$1 number=$2 words=$3
    shift 3
    row "$want" "$number" "$words" "$MILLRACE" "$@"
}

# ---- what is used below ----

dataset cells good 48
"$MAKE_INPUT" photos photos 3
mv photos/ring/donor0_0.jpg good.jpg
rm -r photos
cat >small.yaml <<'END'
model: {arch: vit_tiny, patch: 8, dim: 32, depth: 1, heads: 2,
        head_hidden: 32, bottleneck: 16, out_dim: 64}
data: {global_size: 32, local_size: 16, local_count: 2}
train: {steps: 4, batch_size: 8, warmup_steps: 1, freeze_steps: 1,
        checkpoint_every: 1, threads: 1}
END
"$MILLRACE" train small.yaml good.mr -o run -q >/dev/null || fail "no run"
"$MILLRACE" eval features run good.mr -o good.mrf -q >/dev/null ||
    fail "no features"
mkdir plain empty
echo "shopping list" >plain/list.txt

# Another dataset, to be spoilt.
copy() { # NAME
    cp -r good.mr "$1"
}
shards() { # DATASET
    find "$1/shards" -name '*.mrs'
}
# Bytes of a file overwritten.
spoil() { # FILE AT BYTES
    printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
cut() { # FILE FROM BYTES
    head -c "$3" "$2" >"$1"
}

# Every verb that reads a dataset, on one that it cannot read.
reads() { # EXIT NUMBER WORDS DATASET
    bad "$1" "$2" "$3" inspect "$4"
    bad "$1" "$2" "$3" export "$4" -o new
    bad "$1" "$2" "$3" batch "$4"
    bad "$1" "$2" "$3" serve "$4" --listen "ipc://$scratch/yard/new.sock"
    bad "$1" "$2" "$3" train small.yaml "$4" -o new -q
    bad "$1" "$2" "$3" eval features run "$4" -o new.mrf -q
}

# ---- wrong flags, verbs, values ----

bad 2 E0104 "no verb 'ingst'; did you mean 'ingest'" ingst
for verb in ingest inspect verify withdraw relabel compact rollback salvage \
    export batch serve train "eval features" \
    "eval knn" "eval plot"; do
    # shellcheck disable=SC2086 # a verb may be two words
    bad 2 E0102 "unknown option '--colour'; did you mean '--color'" \
        $verb --colour
    # shellcheck disable=SC2086
    bad 2 E0101 "$verb needs . argument" $verb
    echo 'colour: never' >wrong.yaml
    # shellcheck disable=SC2086
    bad 2 E0102 "wrong.yaml: line 1, column 9: .*'--colour'; did you mean" $verb \
        good.mr \
        --config wrong.yaml
done
bad 2 E0101 "eval has no 'foo'" eval foo
bad 2 E0101 "ingest needs -o DATASET" ingest good
bad 2 E0101 "salvage needs -o DATASET" salvage good.mr
bad 2 E0101 "export needs -o DIR" export good.mr
bad 2 E0101 "train needs -o RUN" train dino good.mr
bad 2 E0101 "needs -o F.mrf" eval features run good.mr
bad 2 E0103 "--threads cannot be 'x'" verify good.mr -j x
for verb in verify "export -o new" batch serve; do
    # shellcheck disable=SC2086
    bad 2 E0103 "--threads cannot be 5000000000: expected 0 to 1024" \
        $verb good.mr -j 5000000000
done
bad 2 E0103 "--as cannot be 'tiff': expected npy.jpeg" export good.mr -o new \
    --as tiff
bad 2 E0103 "--index cannot be '5:2'" batch good.mr --index 5:2
bad 2 E0511 "no batch 99: the epoch has 1" batch good.mr --index 99
bad 2 E0103 "--consumer cannot be '3/3'" batch good.mr --consumer 3/3
bad 2 E0325 "good.mr: no split 'nope'; there are: all" batch good.mr \
    --split nope
bad 2 E0103 "--max-bad cannot be 'all'" ingest good -o new.mr --max-bad all
bad 2 E0103 "--memory cannot be '12Q'" serve good.mr --memory 12Q
bad 2 E0103 "-o cannot be 'new.mr@3'" ingest good -o new.mr@3
bad 2 E0103 "-o cannot be 'good.mr@1'" ingest good -o good.mr@1
bad 2 E0103 "-o cannot be 'new.mr@3'" salvage good.mr -o new.mr@3
bad 2 E0324 "generation 7 does not exist" inspect good.mr@7
bad 2 E0326 "no sample 'nobody'" inspect good.mr --sample nobody
bad 2 E0101 "the manifest of a dataset; name the folder" \
    inspect good.mr/manifest.000001.pb
bad 2 E0101 "the index of a dataset; name the folder" \
    inspect good.mr/index.000001.mri
bad 2 E0101 "inspect needs 2 arguments" inspect --diff good.mr
bad 2 E0101 "--diff goes with" inspect --diff good.mr good.mr --samples
bad 2 E0101 "--all is for --diff" inspect good.mr --all
bad 2 E0101 "needs a KEY" withdraw good.mr
bad 2 E0326 "good.mr: no sample 'nobody'" withdraw good.mr nobody --group donor1
bad 2 E0340 "good.mr: no group 'doner1'; did you mean 'donor1'" withdraw \
    good.mr --group doner1
bad 2 E0103 "'xyz' is no uid" withdraw good.mr --uid xyz
bad 2 E0103 "an empty name" withdraw good.mr --group ''
bad 2 E0101 "needs either KEY... or --csv F" relabel good.mr
bad 2 E0101 "KEY... needs --class or --group" relabel good.mr nobody
bad 2 E0326 "good.mr: no sample 'nobody'" relabel good.mr nobody --class x
echo 'name,class' >bad.csv
bad 2 E0103 "bad.csv: line 1: one column must be called key or uid" relabel \
    good.mr --csv bad.csv
printf 'key,class\n"a,b\n' >bad.csv
bad 2 E0103 "bad.csv: line 2: quotes that do not close" relabel good.mr \
    --csv bad.csv
printf 'key,class\na,b,c\n' >bad.csv
bad 2 E0103 "bad.csv: line 2: another number of columns" relabel good.mr \
    --csv bad.csv
bad 2 E0101 "a purge cannot keep the older generations" compact good.mr \
    --purge --keep-old
bad 2 E0103 "--threads cannot be 0" compact good.mr -j 0
bad 2 E0324 "generation 7 does not exist" rollback good.mr@7
bad 2 E0101 "name the generation to go back to" rollback good.mr
row 2 E0103 "MILLRACE_SIMD=sse9: no such level" \
    env MILLRACE_SIMD=sse9 "$MILLRACE" inspect good.mr

# ---- YAML ----

echo '- {crop: {sise: 20}}' >wrong.yaml
bad 2 E0501 "wrong.yaml.*'sise'.*did you mean 'size'" batch good.mr \
    --pipeline wrong.yaml
bad 2 E0501 "wrong.yaml.*'sise'" eval features run good.mr -o new.mrf \
    --pipeline wrong.yaml -q
echo '- crop_: {size: 20}' >wrong.yaml
bad 2 E0500 "wrong.yaml.*'crop_'.*did you mean 'crop'" batch good.mr \
    --pipeline wrong.yaml
echo '- crop: {size: [20' >wrong.yaml
bad 2 E0110 "wrong.yaml@[0-9]+: line 2, column 1" batch good.mr \
    --pipeline wrong.yaml
echo '- {crop: {sise: 20}}' >wrong.yaml
bad 2 E0501 "wrong.yaml.*line 1, column 17.*'sise'" train small.yaml good.mr \
    -o new -q --set data.pipeline=wrong.yaml
printf 'train: {stepz: 3}\n' >wrong.yaml
bad 2 E0700 "wrong.yaml: line 1, column 16: .*train.stepz'; did you mean 'train.steps'" \
    train wrong.yaml good.mr -o new
bad 2 E0700 "no key 'train.stepz'; did you mean 'train.steps'" \
    train small.yaml good.mr -o new --set train.stepz=3
bad 2 E0700 "train.steps cannot be 'abc'" \
    train small.yaml good.mr -o new --set train.steps=abc
bad 2 E0620 "multiple of the heads" \
    train small.yaml good.mr -o new --set model.dim=33
bad 2 E0702 "run.*train.steps" train small.yaml good.mr -o run \
    --set train.steps=9
bad 2 E0600 "'abacus'" train small.yaml good.mr -o new \
    --set train.device=abacus
rm wrong.yaml

# ---- missing files and folders ----

reads 5 E0201 "nothere.mr: cannot open: No such file" nothere.mr
bad 5 E0201 "nothere.mr: cannot open" verify nothere.mr
bad 5 E0201 "nothere.mr: cannot open" salvage nothere.mr -o new
bad 5 E0201 "nothere.mr: cannot open" withdraw nothere.mr --group donor1
bad 5 E0201 "nothere.mr: cannot open" rollback nothere.mr@1
bad 5 E0201 "nothere.mr: cannot open" inspect --diff good.mr nothere.mr
bad 5 E0201 "nothere: cannot open" ingest nothere -o new.mr
bad 5 E0201 "nothere.yaml: cannot open" batch good.mr --pipeline nothere.yaml
bad 5 E0201 "nothere.yaml: cannot open" batch good.mr --config nothere.yaml
bad 5 E0201 "nothere.yaml: cannot open" train nothere.yaml good.mr -o new
bad 5 E0201 "nothere.*cannot open" eval features nothere good.mr -o new.mrf -q
bad 5 E0201 "nothere.mrf: cannot open" eval knn nothere.mrf
bad 5 E0201 "nothere.mrf: cannot open" eval plot nothere.mrf -o new.png
# the folder that -o is to lie in
bad 5 E0201 "no/new.mr: cannot create" ingest good -o no/new.mr -q
bad 5 E0201 "no/new: cannot create" export good.mr -o no/new
bad 5 E0201 "no/.*cannot create" batch good.mr -o no/new.safetensors
bad 5 E0201 "no/.*cannot create" batch good.mr --png no/new.png
bad 5 E0201 "no/.*cannot create" inspect good.mr --png no/new.png
bad 5 E0201 "no/new: cannot create" train small.yaml good.mr -o no/new -q
bad 5 E0201 "no/.*cannot create" eval features run good.mr -o no/new.mrf -q
bad 5 E0201 "no/.*cannot create" eval plot good.mrf -o no/new.png
bad 5 E0560 "yard/no: cannot open" serve good.mr \
    --listen "ipc://$scratch/yard/no/new.sock"

# ---- the wrong thing ----

reads 3 E0320 "plain: no dataset" plain
bad 3 E0320 "plain: no dataset" verify plain
cat >wrong.yaml <<'END'
data:
  pipeline:
    - crop: {size: 9000}
    - multi_crop: {global: {size: 32}}
END
bad 2 E0506 "data.pipeline: crop: 9000x9000 does not fit" train wrong.yaml \
    good.mr -o new -q
rm wrong.yaml
bad 5 E0201 "plain: cannot open: Is a directory" batch good.mr --pipeline plain
bad 5 E0201 "plain: cannot open: Is a directory" eval knn plain
mkfifo pipe.yaml
bad 5 E0201 "pipe.yaml: a pipe, not a file" batch good.mr --pipeline pipe.yaml
bad 5 E0201 "pipe.yaml: a pipe, not a file" train pipe.yaml good.mr -o new
bad 5 E0201 "pipe.yaml: a pipe, not a file" eval knn pipe.yaml
rm pipe.yaml
bad 5 E0201 "two[?]lines.mr: cannot open" inspect "two
lines.mr"
bad 3 E0320 "plain: no dataset" withdraw plain --group donor1
bad 3 E0320 "plain: no dataset: there is no shard" salvage plain -o new
bad 3 E0346 "list.txt: not one intact sample" salvage plain/list.txt -o new
bad 3 E0345 "plain: is there already" salvage good.mr -o plain
bad 3 E0345 "good.mr/new: lies in the source" salvage good.mr -o good.mr/new
bad 3 E0453 "plain: is there already and holds 'list.txt'" ingest good -o plain
bad 2 E0701 "plain: holds other things" train small.yaml good.mr -o plain -q
bad 3 E0400 "list.txt" inspect plain/list.txt
bad 3 E0114 "list.txt" eval knn plain/list.txt
bad 3 E0114 "list.txt" eval features plain/list.txt good.mr -o new.mrf -q
bad 3 E0720 "last.safetensors" eval knn run/checkpoints/last.safetensors
bad 3 E0640 "good.mrf" eval features good.mrf good.mr -o new.mrf -q
bad 3 E0450 "empty: nothing in it could be an image" ingest empty -o new.mr
bad 3 E0450 "plain: nothing in it could be an image" ingest plain -o new.mr
bad 3 E0320 "empty: no dataset" inspect empty

# ---- foreign files ----

# One alone: inspect names it, where inspect reads so far; ingest has no
# sample left. Among good ones: set aside with number and offset, and the rest
# is ingested.
foreign() { # NUMBER WORDS FILE yes|no: inspect sees it
    e=$1 says=$2 file=$3
    mkdir alone
    mv "$file" alone
    [ "$4" = no ] || bad 3 "$e" "alone/$file.*$says" inspect "alone/$file"
    bad 3 E0332 "new.mr: no usable sample among 1 input" ingest alone \
        -o new.mr -q
    mkdir many
    cp good/ring/*.tif good/spot/*.tif many
    mv "alone/$file" many
    rmdir alone
    rows=$((rows + 1))
    line="ingest many, with $file"
    "$MILLRACE" ingest many -o many.mr >../out 2>../err ||
        complain "one bad file of many stops the rest"
    "$MILLRACE" inspect many.mr --quarantine >../err
    grep -qE "\\[$e\\] $file@[0-9]+: .*$says" ../err ||
        complain "not in the quarantine as $e, $says"
    grep -q '32 samples (32 new).* 1 set aside' ../out ||
        complain "not 32 samples and one set aside: $(cat ../out)"
    rm -r many many.mr
}
cut cut.png "$CORPUS/png_fuzz/16.png" 100
foreign E0415 "the PNG ends here" cut.png yes
cut cut.tif good/ring/donor0_0.tif 20000
foreign E0423 "the TIFF ends here, before the end of strip 0" cut.tif no
cut cut.nii "$CORPUS/nifti_fuzz/f4.nii" 360
foreign E0432 "the voxels end here, after 8 of 48 bytes" cut.nii no
cut head.nii "$CORPUS/nifti_fuzz/f4.nii" 100
foreign E0432 "ends" head.nii yes
cut cut.nii.gz "$CORPUS/nifti_fuzz/u1.nii.gz" 60
foreign E0441 "ends" cut.nii.gz no
cp "$CORPUS/nifti_fuzz/u1.nii.gz" tail.nii.gz
spoil tail.nii.gz 58 '\0377\0377\0377\0377'
foreign E0440 "incorrect data check" tail.nii.gz no
cut cut.jpg good.jpg 1000
foreign E0410 "the JPEG ends here" cut.jpg no
echo "this is no picture at all" >text.jpg
foreign E0400 "" text.jpg yes
printf 'GIF89a\1\0\1\0\0\0\0;' >gif.jpg
foreign E0402 "GIF" gif.jpg yes
: >none.png
foreign E0401 "the file is empty" none.png yes

mkdir half
cp good/ring/*.tif half
cut half/cut.png "$CORPUS/png_fuzz/16.png" 100
cut half/cut.jpg good.jpg 1000
rm -rf new.mr
line="more bad files than --max-bad"
"$MILLRACE" ingest half -o half.mr -q >../out 2>../err && complain "exit 0"
grep -q 'error\[E0454\]: half.mr: 2 of 18 inputs' ../err || complain "E0454"
find half.mr -name 'manifest*' | grep -q . && complain "it was committed"
rm half/cut.*
"$MILLRACE" ingest half -o half.mr -q >../out 2>../err ||
    complain "mended, and does not go on"
rm -r half half.mr

# ---- damaged and newer datasets ----

copy newer.mr
"$MAKE_INPUT" newer newer.mr/manifest.000001.pb
reads 9 E0303 "newer.mr/manifest.000001.pb@8: manifest of format version 9.0 is too new; this millrace reads versions up to 1.0" newer.mr
bad 9 E0303 "format version 9.0 is too new" ingest good -o newer.mr -q
copy newer_shard.mr
for shard in $(shards newer_shard.mr); do
    "$MAKE_INPUT" newer "$shard"
done
bad 9 E0303 "mrs@8: shard of format version 9.0 is too new" batch newer_shard.mr
bad 9 E0303 "mrs@8: shard of format version 9.0 is too new" train small.yaml newer_shard.mr -o new -q

copy manifest.mr
spoil manifest.mr/manifest.000001.pb 60 '\0377'
reads 3 E0322 "manifest.000001.pb@0: the manifest fails its checksum" \
    manifest.mr
bad 3 E0322 "manifest.000001.pb@0" ingest good -o manifest.mr -q
copy index.mr
spoil index.mr/index.000001.mri 100 '\0377'
reads 3 E0323 "index.000001.mri@64: page 0" index.mr
copy short.mr
cut short.mr/index.000001.mri good.mr/index.000001.mri 300
reads 3 E0323 "index.000001.mri" short.mr

copy gone.mr
rm $(shards gone.mr)
bad 5 E0329 "gone.mr/shards/.*mrs: .* names this shard" batch gone.mr
bad 5 E0329 "gone.mr/shards" train small.yaml gone.mr -o new -q
bad 5 E0329 "gone.mr/shards" eval features run gone.mr -o new.mrf -q
copy cut.mr
for shard in $(shards cut.mr); do
    truncate -s -5000 "$shard"
done
bad 3 'E030[12]' "cut.mr/shards/.*mrs" batch cut.mr
bad 3 'E030[12]' "cut.mr/shards/.*mrs" train small.yaml cut.mr -o new -q
bad 3 'E030[12]' "cut.mr/shards/.*mrs" eval features run cut.mr -o new.mrf -q
copy damaged.mr
for shard in $(shards damaged.mr); do
    bytes=$(stat -c %s "$shard")
    for at in $(seq 8000 10000 $((bytes - 200000))); do
        spoil "$shard" "$at" '\0125\0252'
    done
done
bad 3 E0312 "damaged.mr/shards/.*mrs@[0-9]*: .*fails its checksum" \
    batch damaged.mr
kept=new # a run that had begun: mend the data, and it goes on
bad 3 E0312 "mrs@[0-9]*: " train small.yaml damaged.mr -o new -q
bad 3 E0312 "mrs@[0-9]*: " eval features run damaged.mr -o new.mrf -q
# verify lists what it finds on stdout, and says so by its exit code.
found() { # EXIT WORDS THING
    line="verify $3"
    rows=$((rows + 1))
    code=0
    "$MILLRACE" verify "$3" >../out 2>../err || code=$?
    [ "$code" = "$1" ] || complain "exit $code, not $1"
    grep -qE "$2" ../out || complain "stdout has no '$2': $(head -n 3 ../out)"
}
found 0 "48 samples .*: sound" good.mr
found 9 "OF ANOTHER VERSION" newer.mr
found 9 "OF ANOTHER VERSION" newer_shard.mr
found 3 "E0322.*DAMAGED|DAMAGED" manifest.mr
found 3 "index.000001.mri" index.mr
found 3 "mrs: cannot open" gone.mr
found 3 'E030[12]' cut.mr
found 3 "E0312.*@[0-9]*: .*sample .*donor" damaged.mr
found 3 "E0301.*list.txt@0: 14 bytes are too few" plain/list.txt
found 3 "DAMAGED" "$(shards damaged.mr | head -n 1)"

# Weights.
cp -r run broken
spoil broken/checkpoints/last.safetensors 30000 '\0125\0252\0125\0252'
bad 3 E0115 "broken/checkpoints/last.safetensors" eval features broken good.mr \
    -o new.mrf -q
bad 3 E0115 "broken/checkpoints/last.safetensors" train small.yaml good.mr \
    -o broken -q
cp good.mrf broken.mrf
spoil broken.mrf 3000 '\0125\0252\0125\0252'
bad 3 E0115 "broken.mrf" eval knn broken.mrf

# ---- servers ----

here=ipc://$scratch/yard/s.sock
bad 6 E0553 "no server answered within 0.3 s" batch "$here" \
    --connect-timeout 0.3
bad 6 E0553 "no server answered within 0.3 s" train small.yaml "$here" \
    -o new --connect-timeout 0.3 -q
bad 2 E0725 "s.sock" eval features run "$here" -o new.mrf -q
bad 2 E0557 "needs a host and a port" batch tcp://127.0.0.1
bad 2 E0557 "begins neither with ipc:// nor with tcp://" batch http://localhost
bad 7 E0558 "not an address of this machine's loopback" batch tcp://10.0.0.1:1
bad 7 E0558 "not an address of this machine's loopback" serve good.mr \
    --listen tcp://0.0.0.0:5570
bad 2 E0557 "plain/list.txt' is there and is no socket" serve good.mr \
    --listen "ipc://$scratch/yard/plain/list.txt"
serve yard/s.sock good.mr
bad 1 E0559 "served already: held by pid $server" serve good.mr --listen "$here"
bad 2 E0556 "no dataset 'other' here; there is good" batch "$here#other"
mkdir other
cp -r good.mr other
bad 2 E0562 "good.mr and other/good.mr would both be called 'good'" serve \
    good.mr other/good.mr --listen "ipc://$scratch/yard/new.sock"
rm -r other
echo '- crob: {size: 20}' >wrong.yaml
bad 2 E0500 "wrong.yaml: line 1, column 3: .*'crob'" batch "$here" \
    --pipeline wrong.yaml
head -c 100000 /dev/zero | tr '\0' '#' >wrong.yaml
bad 2 E0509 "at most 61440 bytes" batch "$here" --pipeline wrong.yaml
head -c 100 /dev/zero >wrong.yaml
bad 2 'E0110|E0509' "" batch "$here" --pipeline wrong.yaml
bad 2 E0110 "wrong.yaml" batch good.mr --pipeline wrong.yaml
rm wrong.yaml
end_all
rm -f s.sock*
serve tcp good.mr
bad 1 E0559 "another process listens at '$address'" serve good.mr \
    --listen "$address"
end_all
serve yard/s.sock damaged.mr
bad 3 E0312 "fails its checksum" batch "$here"
end_all
rm -f s.sock*

# ---- no room ----

# A limit of the shell on the size of a file: write(2) fails in the middle, as
# on a full disk. 512-byte blocks.
# shellcheck disable=SC2016
echo 'ulimit -f "$1"; shift; exec "$@"' >../small.sh
tight() { # BLOCKS WORDS ARGUMENTS OF millrace...
    blocks=$1 words=$2
    shift 2
    row 5 E0203 "$words" sh ../small.sh "$blocks" "$MILLRACE" "$@"
}
tight 100 "new.mr/.*cannot write: File too large" ingest good -o new.mr -q
kept=new # samples that were written whole
tight 20 "new/.*cannot write: File too large" export good.mr -o new -j 1
tight 20 "new.*cannot write: File too large" batch good.mr -o new.safetensors
tight 1 "new.*cannot write: File too large" batch good.mr --png new.png
tight 1 "new.*cannot write: File too large" inspect good.mr --png new.png
tight 8 "new.mrf.*cannot write: File too large" eval features run good.mr \
    -o new.mrf -q
tight 1 "new.png.*cannot write: File too large" eval plot good.mrf -o new.png
kept=new
tight 100 "new/checkpoints/.*cannot write: File too large" \
    train small.yaml good.mr -o new -q
# A run that has checkpoints keeps them as they were.
cp -r run older
for file in last best step-00000004; do
    rm "older/checkpoints/$file.safetensors"
done
cp older/checkpoints/step-00000003.safetensors \
    older/checkpoints/last.safetensors
cksum older/checkpoints/*.safetensors >../before.sums
line="a run with checkpoints, on a full disk"
rows=$((rows + 1))
code=0
sh ../small.sh 100 "$MILLRACE" train small.yaml good.mr -o older -q \
    >../out 2>../err || code=$?
[ "$code" = 5 ] || complain "exit $code, not 5"
cksum older/checkpoints/*.safetensors >../after.sums
equal "checkpoints of a run on a full disk" ../before.sums ../after.sums
rm -r older
if [ -w /dev/full ]; then
    for verb in "inspect" "inspect --json" "verify" "batch --hash"; do
        rows=$((rows + 1))
        line="$verb >/dev/full"
        code=0
        # shellcheck disable=SC2086
        "$MILLRACE" $verb good.mr >/dev/full 2>../err || code=$?
        [ "$code" = 5 ] || complain "exit $code, not 5"
        grep -q 'error\[E0203\]: cannot write the output: No space' ../err || complain "not named"
    done
fi

# ---- no permission, and a disk that is really full ----

# Root may write anywhere, so a mount namespace makes the places: one that is
# read-only, one of 64 KiB.
mkdir full locked
if unshare -rm true 2>/dev/null; then
    cp -r good.mr run locked
    cat >../inside.sh <<'END'
mount -t tmpfs -o size=64k none full && mount --bind locked locked &&
    mount -o remount,ro,bind locked || exit 99
"$@" >../out 2>../err </dev/null
code=$?
find full -name '.?*' -o -name 'new*' | grep . && exit 98 # half-written
exit $code
END
    inside() { # EXIT NUMBER WORDS ARGUMENTS OF millrace...
        line=$*
        want=$1 number=$2 words=$3
        shift 3
        rows=$((rows + 1))
        listing >../before
        code=0
        timeout 60 unshare -rm sh ../inside.sh "$MILLRACE" "$@" || code=$?
        listing >../after
        [ "$code" != 98 ] || complain "it leaves half-written files"
        [ "$code" = "$want" ] || complain "exit $code, not $want"
        head -n 1 ../err | grep -qE "error\[$number\]: .*$words" ||
            complain "the line is not: error[$number]: ... $words"
        [ "$(wc -l <../err)" = 2 ] || complain "more than a line and its remedy"
        cmp -s ../before ../after || complain "it leaves something behind"
    }
    none="No space left on device"
    inside 5 E0203 "full/new.mr/.*$none" ingest good -o full/new.mr -q
    inside 5 E0203 "full/new.*$none" batch good.mr -o full/new.safetensors
    inside 5 E0203 "full/.*npy@[0-9]*: cannot write: $none" export good.mr -o full -j 1
    none="Read-only file system"
    # Reading leaves nothing behind, so it needs no place to do so.
    for read in "inspect" "verify" "batch --hash" "withdraw ring/donor0_0.tif --dry-run"; do
        line="$read, on a read-only file system"
        rows=$((rows + 1))
        # shellcheck disable=SC2086
        timeout 60 unshare -rm sh ../inside.sh "$MILLRACE" ${read%% *} \
            locked/good.mr ${read#"${read%% *}"} || complain "exit $?"
        [ -s ../out ] || complain "it says nothing"
    done
    inside 5 E0201 "locked/new.mr: cannot create.*$none" ingest good \
        -o locked/new.mr -q
    inside 5 E0201 "locked/good.mr.*$none" ingest good.jpg -o locked/good.mr -q
    inside 5 E0201 "locked/new: cannot create.*$none" export good.mr \
        -o locked/new
    inside 5 E0201 "locked/.*$none" batch good.mr -o locked/new.safetensors
    inside 5 E0201 "locked/new: cannot create.*$none" train small.yaml good.mr \
        -o locked/new -q
    inside 5 E0201 "locked/run/.*$none" train small.yaml good.mr \
        -o locked/run -q
    inside 5 E0201 "locked/.*$none" eval features run good.mr \
        -o locked/new.mrf -q
    inside 5 'E0201|E0557' "locked/.*$none" serve good.mr \
        --listen "ipc://$scratch/yard/locked/s.sock"
else
    echo "skipped, no user namespaces: a read-only and a full file system"
fi
# Root may do anything, so it becomes nobody; it may enter, and no more.
nobody=
if [ "$(id -u)" = 0 ]; then
    nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    chmod 755 "$scratch"
fi
# shellcheck disable=SC2086 # no word at all, or several
if $nobody "$MILLRACE" --help >/dev/null 2>&1; then
    secret() { # WORDS ARGUMENTS OF millrace...
        words=$1
        shift
        row 5 E0201 "$words" $nobody "$MILLRACE" "$@"
    }
    copy secret.mr
    chmod 000 secret.mr/manifest.000001.pb
    secret "manifest.000001.pb: cannot open: Permission denied" \
        inspect secret.mr
    chmod 644 secret.mr/manifest.000001.pb
    chmod 555 empty
    secret "empty/new.mr: cannot create.*: Permission denied" ingest good \
        -o empty/new.mr -q
    # What may not be read is not called damaged.
    chmod 000 $(shards secret.mr)
    line="verify, without the permission"
    rows=$((rows + 1))
    code=0
    $nobody "$MILLRACE" verify secret.mr >../out 2>../err || code=$?
    [ "$code" = 5 ] || complain "exit $code, not 5"
    grep -q 'NOT READ, for want of permission' ../out || complain "no verdict"
    grep -q salvage ../out && complain "it says that salvage helps"
    printf x >>secret.mr/index.000001.mri # and now it is
    code=0
    $nobody "$MILLRACE" verify secret.mr >../out 2>../err || code=$?
    [ "$code" = 3 ] || complain "exit $code, not 3, with real damage as well"
    grep -q 'DAMAGED' ../out || complain "no verdict"
else
    echo "skipped, root cannot become nobody: files that may not be read"
fi

[ "$wrong" = 0 ] || fail "$wrong of $rows rows"
echo "$rows rows"

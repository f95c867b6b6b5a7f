# shellcheck shell=bash
# The numbered stages, once for all recipes; to be sourced by a recipe's run.sh, which gives its own choices as options before
# the user's (of repeated options the last one counts):
#
#     . tools/stages.sh --recipe DIR --corpus voxceleb --default-config DIR/conf/resnet34.yaml "$@"

set -euo pipefail
stages_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# --- options ---------------------------------------------------------------------------------------------------------------
recipe=$PWD
corpus=
default_config=
corpus_script=
stage=1
stop_stage=7
config=
overlay=
set=
seed=
exp=
data=
nj=$(getconf _NPROCESSORS_ONLN)
gpus=
cmd=local
voxceleb1=
voxceleb2=
musan=
rirs=
lists=
train_sets=
dev_speakers=40
trials=
score_norm=as
top_n=300
cohort=speaker
help_message="usage: bash run.sh [--option value ...]

stages: 1 data  2 features  3 training  4 embeddings  5 scoring  6 score normalisation  7 metrics and report
Without options all of them are run. A stage that is done and whose inputs and options have not changed is skipped.

which stages, which experiment
  --stage N            first stage
  --stop-stage N       last stage
  --config FILE        configuration; empty: the experiment's own from stage 4 on, else the recipe's default
  --overlay FILE       YAML laid over the configuration
  --set WORDS          further options in one argument: 'section.key=value section.key=value'
  --seed N             seed of the training (the configuration's 'seed'); empty: as configured
  --exp DIR            experiment folder; empty: RECIPE/exp/NAME, after the configuration, overlay and seed
  --data DIR           folder for the data; empty: RECIPE/data
how to run
  --nj N               array jobs of stages 2 and 4 (on GPUs: one a GPU)
  --gpus N             GPUs for stages 3 and 4; 0: none; empty: all that are visible
  --cmd WORD           where array jobs run: local, or the name of another tools/submit/WORD.py
corpora (stage 1)
  --voxceleb1 DIR      VoxCeleb1
  --voxceleb2 DIR      VoxCeleb2
  --musan DIR          MUSAN: folders noise, music and speech
  --rirs DIR           room impulse responses
  --lists DIR          trial lists; empty: they lie in the corpus folders
  --train-sets LIST    of vox1_dev,vox2_dev; empty: one for each corpus given
  --dev-speakers N     training speakers held out to watch the training
  --trials LIST        trial lists to score, comma-separated; empty: all
scoring (stages 5 to 7)
  --score-norm KIND    z, t, s, as or none
  --top-n N            cohort scores that as-norm keeps for each side
  --cohort KIND        speaker (mean of each training speaker) or utterance
what a recipe says of itself
  --recipe DIR         folder of the recipe: its data, exp and conf
  --corpus NAME        see wespk/corpora
  --default-config FILE  configuration without --config
  --corpus-script FILE   bash script to run before stage 1, to make the corpus"
. "$stages_root/tools/parse_options.sh"
. "$stages_root/tools/run_stage.sh"

# --- small tools -----------------------------------------------------------------------------------------------------------
absolute() { # the absolute form of a path; nothing for nothing
  case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
  esac
}

count() { # the lines of a file
  grep -c '' "$1" || true
}

agree() { # stop unless $2, the number of $1, is $3
  if [ "$2" -ne "$3" ]; then
    die "stage $current: $1 has $2 entries where $3 are expected${log:+; see $log}"
  fi
}

conf() { # the value of one option of the configuration
  local line
  for line in "${conf_lines[@]}"; do
    if [ "${line%%=*}" = "$1" ]; then
      printf '%s' "${line#*=}"
    fi
  done
}

sets() { # those of train, dev and eval that there are
  local name
  for name in train dev eval; do
    if [ -s "$data/$name/wav.scp" ]; then
      printf '%s\n' "$name"
    fi
  done
}

lists() { # the trial lists to score, by name
  local name
  if [ -n "$trials" ] && [ "$stage" -gt 1 ]; then
    tr , '\n' <<<"$trials"
  elif [ -d "$data/eval/trials" ]; then
    for name in "$data"/eval/trials/*; do
      if [ -f "$name" ]; then
        basename "$name"
      fi
    done
  fi
}

existing() { # append those of the paths that exist to inputs or outputs ($1)
  local path
  for path in "${@:2}"; do
    if [ -e "$path" ]; then
      if [ "$1" = inputs ]; then
        inputs+=("$path")
      else
        outputs+=("$path")
      fi
    fi
  done
}

# --- stage 1: data ---------------------------------------------------------------------------------------------------------
plan_1() {
  local name
  title=data reads="corpus folders" writes="$data/{train,dev,eval,musan,rirs}"
  options=() inputs=() outputs=()
  for name in corpus voxceleb1 voxceleb2 musan rirs lists train_sets dev_speakers trials; do
    if [ -n "${!name}" ]; then
      options+=("$name=${!name}")
    fi
  done
  existing inputs "$voxceleb1" "$voxceleb2" "$musan" "$rirs" "$lists"
  for name in train dev eval; do
    existing outputs "$data/$name"/{wav.scp,utt2spk,spk2utt,utt2dur,trials}
  done
  existing outputs "$data"/{musan,rirs}/*.scp
}

check_1() {
  if [ -n "$corpus_script" ]; then
    run bash "$corpus_script"
    plan_1
  fi
}

work_1() {
  local words=() name
  for name in voxceleb1 voxceleb2 musan rirs lists train_sets dev_speakers trials; do
    if [ -n "${!name}" ]; then
      words+=("--${name//_/-}" "${!name}")
    fi
  done
  run python -m wespk.bin.prepare_corpus --corpus "$corpus" --out "$data" --jobs "$((nj > 8 ? nj : 8))" "${words[@]}"
  for name in $(sets); do
    words=()
    if [ "$name" != train ]; then
      words=(--train-dir "$data/train")
    fi
    run python -m wespk.bin.validate_data --data "$data/$name" --sample-rate "$(conf features.sample_rate)" --jobs "$nj" "${words[@]}"
  done
}

# --- stage 2: features -----------------------------------------------------------------------------------------------------
has_copies() {
  [ "$(conf copies.speeds)$(conf copies.kinds)" != "[][]" ]
}

feature_options() { # what of the configuration decides the features; copies are drawn with the seed
  local line
  for line in "${conf_lines[@]}"; do
    if [[ $line == features.* ]] || { [[ $line == copies.* || $line == seed=* ]] && has_copies; }; then
      printf '%s\n' "$line"
    fi
  done
}

plan_2() {
  local name text
  title=features reads="$data/{train,dev,eval}/wav.scp" writes="$data/{train,dev,eval}/feats.scp"
  inputs=() outputs=()
  text=$(feature_options)
  mapfile -t options <<<"$text"
  if has_copies; then
    writes="$writes, $data/train_aug"
    existing inputs "$data"/{musan,rirs}/*.scp
    existing outputs "$data/train_aug"/{feats.scp,utt2spk,spk2utt,utt2num_frames,vad.scp}
  fi
  for name in $(sets); do
    inputs+=("$data/$name/wav.scp" "$data/$name/utt2spk")
    existing inputs "$data/$name/segments"
    existing outputs "$data/$name"/{feats.scp,utt2num_frames,vad.scp} "$data/$name"/feats/*.ark
  done
}

check_2() {
  need 1 "$data/train/wav.scp"
  build_on 1
}

work_2() {
  local name jobs words
  for name in $(sets); do
    words=("${conf_words[@]}")
    if [ "$name" = train ] && has_copies; then
      words+=(--copies true --musan "$data/musan" --rirs "$data/rirs")
    fi
    jobs=$(count "$data/$name/utt2spk")
    jobs=$((jobs < nj ? jobs : nj))
    log="$data/$name/log/fbank.*.log"
    run "${submit[@]}" JOB=1:"$jobs" "$data/$name/log/fbank.JOB.log" \
      python -m wespk.bin.compute_fbank --data "$data/$name" --out "$data/$name/feats" --job JOB --num-jobs "$jobs" "${words[@]}"
    run python -m wespk.bin.merge_feats --data "$data/$name" --out "$data/$name/feats" --num-jobs "$jobs"
    agree "$data/$name/feats.scp" "$(count "$data/$name/feats.scp")" "$(count "$data/$name/utt2spk")"
  done
}

# --- stage 3: training -----------------------------------------------------------------------------------------------------
training_data() {
  if has_copies; then
    printf '%s' "$data/train_aug"
  else
    printf '%s' "$data/train"
  fi
}

last_checkpoint() {
  printf '%s/checkpoints/epoch_%04d.pt' "$exp" "$(conf train.num_epochs)"
}

plan_3() {
  local train
  train=$(training_data)
  title=training reads="$train, $data/dev" writes="$exp/checkpoints"
  options=("${conf_lines[@]}")
  inputs=("$train/utt2spk")
  if [ "$(conf data.input)" = waves ]; then
    inputs+=("$train/wav.scp")
    existing inputs "$data"/{musan,rirs}/*.scp
  else
    inputs+=("$train/feats.scp")
  fi
  existing inputs "$data"/dev/{feats.scp,trials/dev}
  outputs=("$exp/config.yaml" "$(last_checkpoint)")
}

check_3() {
  local path text features
  need 1 "$data/train/wav.scp"
  for path in "${inputs[@]}"; do
    need 2 "$path"
  done
  text=$(feature_options)
  mapfile -t features <<<"$text"
  build_on 2 "${features[@]}"
}

work_3() {
  local words=(--exp "$exp" --train-data "$(training_data)" "${conf_words[@]}") launcher=(python) status=0
  if [ -s "$data/dev/trials/dev" ]; then
    words+=(--dev-data "$data/dev")
  fi
  if [ "$(conf data.input)" = waves ]; then
    words+=(--musan "$data/musan" --rirs "$data/rirs")
  fi
  if [ "$num_gpus" -gt 1 ]; then
    launcher=(python -m torch.distributed.run --standalone --nproc-per-node "$num_gpus")
  fi
  if [ "$num_gpus" -gt 0 ]; then
    words+=(--device cuda)
  else
    words+=(--device cpu)
  fi
  log="$exp/train.log"
  rm -f "$exp/requeue"
  run "${launcher[@]}" -m wespk.bin.train "${words[@]}" || status=$?
  if [ "$status" -ne 0 ] && [ -e "$exp/requeue" ]; then # torchrun does not hand on its workers' exit status
    status=85
  fi
  if [ "$status" -ne 0 ]; then
    exit "$status"
  fi
}

# --- stage 4: embeddings ---------------------------------------------------------------------------------------------------
plan_4() {
  local name path
  title=embeddings reads="$exp/checkpoints, $data/{eval,train}/feats.scp" writes="$exp/embeddings"
  options=() outputs=()
  inputs=("$(last_checkpoint)" "$data/train/feats.scp" "$data/train/utt2spk")
  existing inputs "$data/eval/feats.scp"
  existing outputs "$exp/checkpoints/average.pt" "$exp"/embeddings/{eval,train}/{xvector,spk_xvector}.{scp,ark}
}

check_4() {
  local text features
  need 3 "$(last_checkpoint)"
  need 2 "$data/train/feats.scp"
  build_on 3
  text=$(feature_options)
  mapfile -t features <<<"$text"
  build_on 2 "${features[@]}"
}

work_4() {
  local name jobs words
  run python -m wespk.bin.average_checkpoints --exp "$exp"
  for name in train eval; do
    if [ ! -e "$data/$name/feats.scp" ]; then
      continue
    fi
    jobs=$(count "$data/$name/feats.scp")
    words=(--device cpu --threads 1)
    if [ "$num_gpus" -gt 0 ]; then
      jobs=$((jobs < num_gpus ? jobs : num_gpus))
      words=(--device cuda)
    else
      jobs=$((jobs < nj ? jobs : nj))
    fi
    log="$exp/embeddings/$name/log/extract.*.log"
    run "${submit[@]}" --gpus "$((num_gpus > 0 ? 1 : 0))" JOB=1:"$jobs" "$exp/embeddings/$name/log/extract.JOB.log" \
      python -m wespk.bin.extract_embeddings --exp "$exp" --data "$data/$name" --out "$exp/embeddings/$name" \
      --job JOB --num-jobs "$jobs" "${words[@]}"
    words=()
    if [ "$name" = train ]; then
      words=(--speaker-means true)
    fi
    run python -m wespk.bin.extract_embeddings --data "$data/$name" --out "$exp/embeddings/$name" --num-jobs "$jobs" \
      --merge true "${words[@]}"
    agree "$exp/embeddings/$name/xvector.scp" "$(count "$exp/embeddings/$name/xvector.scp")" "$(count "$data/$name/feats.scp")"
  done
}

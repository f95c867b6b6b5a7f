# shellcheck shell=bash
# shellcheck disable=SC2034 # the plans' variables are read by tools/run_stage.sh
# Stages 1 and 2: data folders and features. To be sourced by tools/stages.sh; see tools/run_stage.sh for what plan_N,
# check_N and work_N are.

# --- stage 1: data --------------------------------------------------------------------------------------------------
plan_1() {
  local name
  title=data reads="corpus folders" writes="$data/{train,dev,eval,musan,rirs}"
  options=() inputs=() outputs=()
  for name in corpus voxceleb1 voxceleb2 cnceleb1 cnceleb2 musan rirs lists train_sets dev_speakers min_seconds trials \
    check_audio; do
    if [ -n "${!name}" ]; then
      options+=("$name=${!name}")
    fi
  done
  existing inputs "$voxceleb1" "$voxceleb2" "$cnceleb1" "$cnceleb2" "$musan" "$rirs" "$lists"
  for name in train dev eval; do
    existing outputs "$data/$name"/{wav.scp,utt2spk,spk2utt,utt2dur,utt2sess,utt2genre,utt2utts,trials,enroll_maps}
  done
  existing outputs "$data"/{musan,rirs}/*.scp
}

check_1() {
  local name
  if [ -n "$corpus_script" ]; then
    run bash "$corpus_script"
    plan_1
  fi
  for name in voxceleb1 voxceleb2 cnceleb1 cnceleb2 musan rirs lists; do
    if [ "$dry_run" = true ] && [ -n "$corpus_script" ]; then
      continue # it makes them
    elif [ -n "${!name}" ] && [ ! -d "${!name}" ]; then
      die "--$name: no such folder: ${!name}"
    fi
  done
}

given_to_1() { # $options: what of stage 1's options is on the command line; a later stage cannot change it any more
  local name
  options=()
  for name in voxceleb1 voxceleb2 cnceleb1 cnceleb2 musan rirs lists train_sets dev_speakers min_seconds; do
    if [[ $given == *" $name "* ]]; then
      options+=("$name=${!name}")
    fi
  done
}

tables_of() { # what identifies the utterances of set $1; nothing if there is no such set
  if [ -e "$data/$1/utt2spk" ]; then
    cksum "$data/$1/wav.scp" "$data/$1/utt2spk"
  fi
}

prepare_words() { # $words: the command that prepares the corpus
  local name
  words=(python -m wespk.bin.prepare_corpus --corpus "$corpus" --out "$data" --jobs "$((nj > 8 ? nj : 8))")
  for name in voxceleb1 voxceleb2 cnceleb1 cnceleb2 musan rirs lists train_sets dev_speakers min_seconds trials; do
    if [ -n "${!name}" ]; then
      words+=("--${name//_/-}" "${!name}")
    fi
  done
}

vet_1() {
  local words
  prepare_words
  run "${words[@]}" --check true
}

work_1() {
  local words name
  local -A before
  for name in train dev eval; do
    before[$name]=$(tables_of "$name")
  done
  prepare_words
  run "${words[@]}"
  for name in train dev eval; do
    if [ "${before[$name]}" != "$(tables_of "$name")" ]; then # features of other utterances must not outlive them
      rm -f "$data/$name"/{feats.scp,vad.scp,utt2num_frames}
    fi
  done
  # stage 2 answers for the features that may lie there already: were they damaged, only stage 2 could mend them
  words=(--sample-rate "$(conf features.sample_rate)" --check-audio "$check_audio" --check-features false --jobs "$nj")
  for name in $(data_sets); do
    if [ "$name" != train ]; then
      run python -m wespk.bin.validate_data --data "$data/$name" "${words[@]}" --train "$data/train"
    else
      run python -m wespk.bin.validate_data --data "$data/$name" "${words[@]}"
    fi
  done
}

# --- stage 2: features ----------------------------------------------------------------------------------------------
has_copies() {
  [ "$(conf copies.speeds)$(conf copies.kinds)" != "[][]" ]
}

feature_options() { # $options: what of sections $@ decides the stored features (features.cmn is applied on reading)
  local line section
  options=()
  for line in "${conf_lines[@]}"; do
    for section in "$@"; do
      if [[ $line == "$section".* && $line != features.cmn=* ]]; then
        options+=("$line")
      fi
    done
  done
}

# Stop unless the noises ($1 = musan) or impulse responses ($1 = rirs) are there that the configuration asks for by options
# $2: stage 1 must be given their folder, or have made their lists. $3: words of --set by which nothing asks for them.
need_noises() {
  local lists=() what=noises
  if [ "$1" = rirs ]; then
    what="impulse responses"
  fi
  existing lists "$data/$1"/*.scp
  if [ "$stage" -eq 1 ] && [ -z "${!1}" ]; then
    die "the configuration asks by $2 for $what, and there is no --$1: give --$1 DIR, or switch it off: --set '$3'"
  elif [ "$stage" -gt 1 ] && [ "${#lists[@]}" -eq 0 ]; then
    die "the configuration asks by $2 for $data/$1, which stage 1 makes: run --stage 1 with --$1 DIR, or switch it off: \
--set '$3'"
  fi
}

check_noises() { # for the stages to be run, before the first
  local kinds text
  kinds=$(conf copies.kinds)
  text="copies.kinds=$kinds"
  if [ "$stage" -le 2 ] && [ "$stop_stage" -ge 2 ]; then
    if [[ $kinds == *[!a-z]@(noise|music|babble)[!a-z]* ]]; then
      need_noises musan "$text" "copies.kinds=[]"
    fi
    if [[ $kinds == *reverb* ]]; then
      need_noises rirs "$text" "copies.kinds=[]"
    fi
  fi
  if [ "$stage" -le 3 ] && [ "$stop_stage" -ge 3 ] && [[ ! $(conf augment.prob) =~ ^0(\.0)?$ ]]; then
    text="augment.prob=$(conf augment.prob), augment.reverb_share=$(conf augment.reverb_share), \
augment.both_share=$(conf augment.both_share)"
    if [[ ! "$(conf augment.reverb_share) $(conf augment.both_share)" =~ ^1(\.0)?\ 0(\.0)?$ ]]; then
      need_noises musan "$text" "augment.prob=0"
    fi
    if [[ ! "$(conf augment.reverb_share) $(conf augment.both_share)" =~ ^0(\.0)?\ 0(\.0)?$ ]]; then
      need_noises rirs "$text" "augment.prob=0"
    fi
  fi
}

of_copies() { # $beyond: what of stage 2 concerns the copies alone
  beyond=(copies. seed "$data/musan/" "$data/rirs/")
}

plan_2() {
  local name
  title=features reads="$data/{train,dev,eval}/wav.scp" writes="$data/{train,dev,eval}/feats.scp"
  inputs=() outputs=()
  feature_options features
  if has_copies; then
    feature_options features copies
    options+=("seed=$copies_seed")
    writes="$writes, $data/train_aug"
    existing inputs "$data"/{musan,rirs}/*.scp
    existing outputs "$data/train_aug"/{feats.scp,utt2spk,spk2utt,utt2num_frames,vad.scp}
  else
    of_copies # another configuration's copies do no harm
  fi
  for name in $(data_sets); do
    inputs+=("$data/$name/wav.scp" "$data/$name/utt2spk")
    existing inputs "$data/$name/segments"
    existing marks "$data/$name"/feats/job.*.json
    existing outputs "$data/$name"/{feats.scp,utt2num_frames,vad.scp} "$data/$name"/feats/*.ark
  done
}

check_2() {
  local options beyond=()
  need 1 "$data/train/wav.scp"
  given_to_1
  build_on 1 "${options[@]}"
}

add_noise_folders() { # to words, those that stage 1 made
  local name
  for name in musan rirs; do
    if [ -d "$data/$name" ] || { [ -n "$ahead" ] && [ -n "${!name}" ]; }; then
      words+=("--$name" "$data/$name")
    fi
  done
}

work_2() {
  local name jobs words
  for name in $(data_sets); do
    words=("${feature_words[@]}")
    if [ "$name" = train ] && has_copies; then
      words+=(--copies true)
      add_noise_folders
    fi
    jobs=$(array_size "$data/$name/utt2spk" "$nj")
    log="$data/$name/log/fbank.*.log"
    run "${submit[@]}" WESPK_JOB=1:"$jobs" "$data/$name/log/fbank.WESPK_JOB.log" \
      python -m wespk.bin.compute_fbank --data "$data/$name" --out "$data/$name/feats" --job WESPK_JOB \
      --num-jobs "$jobs" "${words[@]}"
    run python -m wespk.bin.merge_feats --data "$data/$name" --out "$data/$name/feats" --num-jobs "$jobs"
    agree "$data/$name/feats.scp" "$(count "$data/$name/feats.scp")" "$(count "$data/$name/utt2spk")"
  done
}

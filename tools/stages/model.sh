# shellcheck shell=bash
# shellcheck disable=SC2034 # the plans' variables are read by tools/run_stage.sh
# Stages 3 and 4: training and embeddings. To be sourced by tools/stages.sh; see tools/run_stage.sh for what plan_N,
# check_N and work_N are.

# --- stage 3: training ----------------------------------------------------------------------------------------------
training_data() {
  if has_copies; then
    printf '%s' "$data/train_aug"
  else
    printf '%s' "$data/train"
  fi
}

has_label_noise() {
  [ "$(conf labels.noise)" != none ]
}

has_label_file() {
  [ -n "$(conf labels.file)" ]
}

reads_labels() { # does training ask who speaks? If not, the table need not even be there
  [[ ! $(conf objective.name) =~ ^(sdpn|dino|moco|simclr)$ ]]
}

given_labels() { # the table of the labels that training is given: of $data/train at least, but for what labels.file lacks
  if has_label_noise; then
    printf '%s' "$(training_data)/label_noise/$(conf labels.folder)/utt2spk"
  elif has_label_file; then
    conf labels.file
  else
    printf '%s' "$data/train/utt2spk"
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
  inputs=()
  if has_label_file; then
    inputs=("$(given_labels)")
  elif reads_labels; then
    inputs=("$train/utt2spk")
  fi
  if [ "$(conf data.input)" = waves ]; then
    inputs+=("$train/wav.scp")
    existing inputs "$data"/{musan,rirs}/*.scp
  else
    inputs+=("$train/feats.scp")
  fi
  existing inputs "$data"/{train,dev}/feats/*.ark "$data"/dev/trials/dev "$(conf train.init_from)"
  outputs=("$exp/config.yaml" "$(last_checkpoint)")
  if has_label_noise; then
    writes="$train/label_noise, $writes"
    outputs+=("$(given_labels)")
  fi
}

check_3() {
  local path options beyond=()
  need 1 "$data/train/wav.scp"
  if has_label_file && [ ! -f "$(given_labels)" ]; then
    die "labels.file: no such file: $(given_labels)"
  fi
  for path in "${inputs[@]}"; do
    need 2 "$path"
  done
  given_to_1
  build_on 1 "${options[@]}"
  if has_copies; then
    feature_options features copies
  else
    feature_options features
    of_copies
  fi
  if [ "$(conf data.input)" = waves ]; then
    build_on 2 "${options[@]}"
  else
    build_on 2 "${options[@]}" "$(training_data)/feats.scp"
  fi
}

# What training was begun with is noted in EXP/.stages/3.trained_on.json. Without --force, checkpoints of other features
# (or waveforms or noises) are refused here; other keys, labels, lengths or initial weights are refused by training itself.
what_it_heard=('*/train/feats/*.ark' '*/wav.scp' '*/musan/*.scp' '*/rirs/*.scp')

trained_on_these() { # were the inputs that match one of the patterns $@ what the checkpoints are of? Prints why not
  local notes=() found=() flags=()
  existing found "$exp"/checkpoints/*.pt
  existing notes "$exp"/.stages/{3.trained_on.json,3.json,3.json.begun}
  if [ "${#found[@]}" -gt 0 ] && [ "${#notes[@]}" -gt 0 ]; then
    add_flags flags --input "${inputs[@]}"
    add_flags flags --like "$@"
    python "$WESPK_ROOT/tools/stage_mark.py" alike "${notes[0]}" "${flags[@]}"
  fi
}

stale_3() {
  ! trained_on_these "${what_it_heard[@]}" '*/feats.scp' '*/utt2spk' '*.pt' >/dev/null
}

note_data() { # what training begins with; it stays when training goes on
  local found=() flags=()
  existing found "$exp"/checkpoints/*.pt
  if [ "${#found[@]}" -eq 0 ] || [ ! -e "$exp/.stages/3.trained_on.json" ]; then
    add_flags flags --input "${inputs[@]}"
    python "$WESPK_ROOT/tools/stage_mark.py" note "$exp/.stages/3.trained_on.json" "${flags[@]}"
  fi
}

vet_3() {
  local reason
  if [ "$force" = false ] && ! reason=$(trained_on_these "${what_it_heard[@]}"); then
    die "$exp was trained on other data than these ($reason): train it anew with --force true, or under another --exp"
  fi
  if [ -z "$conf_vetted" ]; then
    run python -m wespk.bin.check_config "${conf_words[@]}"
  fi
}

forget_3() { # as it lies, training would find itself at its end
  rm -rf "$exp/checkpoints" "$exp/metrics.jsonl" "$exp/tensorboard"
}

check_job_options() { # those that say how training is run
  local name
  for name in nodes processes threads; do
    if [[ -n ${!name} && ! ${!name} =~ ^[1-9][0-9]*$ ]]; then
      die "--$name takes a number, 1 or more, not '${!name}'"
    fi
  done
  for name in nodes time threads; do
    if [ "$cmd" = local ] && [[ $given == *" $name "* ]]; then
      die "--$name is for jobs of a scheduler, and --cmd is local"
    fi
  done
  for name in nodes time; do
    if [[ ! $cmd =~ ^[a-z]+$ && $given == *" $name "* ]]; then
      die "--$name is not for Kaldi's scripts, which know neither several nodes nor a last checkpoint: give another --cmd"
    fi
  done
  if [ "$cmd" != local ] && [ -z "$gpus" ] && [ "$stop_stage" -ge 3 ] && { [ "$stage" -le 4 ] || [ "$stop_stage" -eq 8 ]; }; then
    die "--cmd $cmd: how many GPUs the nodes have cannot be seen from here: give --gpus N (0: train and extract on CPUs)"
  fi
  if [ -n "$processes" ] && [ "${gpus:-0}" -gt 0 ]; then
    die "--processes is for training without GPUs, where each has a process: give --gpus 0, or leave it out"
  fi
}

would_be_taken() { # what the submitter says of the options and log $@; stops if it, or the scheduler, would not take them
  local said
  said=$("${submit[@]}" "$@" true 2>&1) || die "--cmd $cmd: ${said#*: error: }"
  printf '%s\n' "$said"
}

# Would the submitter take the largest of the jobs, and (if this is no dry run) does its scheduler answer? Found out
# before the first stage, not hours later.
check_submission() {
  local launcher=() words=()
  if [ "$cmd" = local ] || [ "$stop_stage" -lt 2 ] || [ "$stage$stop_stage" = 77 ]; then
    return
  elif [ "$stop_stage" -eq 8 ] || { [ "$stage" -le 3 ] && [ "$stop_stage" -ge 3 ]; }; then
    find_launcher
    words=("${launcher[@]:${#submit[@]}}")
  else
    if [ -n "$time" ]; then
      words+=(--time "$time")
    fi
    if [ "$stop_stage" -ge 5 ]; then
      words+=(--num-threads "$threads")
    fi
    words+=(x.log)
  fi
  would_be_taken "$(if [ "$dry_run" = true ]; then echo --dry-run; else echo --check; fi)" "${words[@]}" >/dev/null
}

device() { # the word for --device
  if [ "$num_gpus" -gt 0 ]; then
    printf cuda
  else
    printf cpu
  fi
}

find_single_launcher() { # $launcher: what stands before "-m wespk.bin..." of one process, whose job logs to $1
  launcher=(python)
  if [ "$cmd" != local ]; then
    launcher=("${submit[@]}" --gpus "$((num_gpus > 0 ? 1 : 0))" --num-threads "$threads" "$1" python)
  fi
}

find_launcher() { # $launcher: what stands before "-m wespk.bin.train"
  local number=${processes:-1}
  if [ "$num_gpus" -gt 0 ]; then
    number=$num_gpus
  fi
  if [ "$cmd" != local ]; then
    launcher=("${submit[@]}" --gpus "$num_gpus" --nodes "$nodes" --num-threads "$((threads * number))")
    if [ -n "$time" ]; then
      launcher+=(--time "$time" --grace 120)
    fi
    launcher+=("$exp/log/training.log" python "$WESPK_ROOT/tools/submit/training_job.py" --exp "$exp" --nodes "$nodes"
      --processes "$number" --)
  elif [ "$number" -gt 1 ]; then
    launcher=(python -m torch.distributed.run --standalone --nproc-per-node "$number")
  else
    launcher=(python)
  fi
}

work_3() {
  local words=(--exp "$exp" --train-data "$(training_data)" "${conf_words[@]}") launcher status=0
  if [ -s "$data/dev/trials/dev" ] || { [ ! -e "$data/dev/trials/dev" ] && there "$data/dev/trials/dev" 1; }; then
    words+=(--dev-data "$data/dev")
  fi
  if [ "$(conf data.input)" = waves ]; then
    add_noise_folders
  fi
  find_launcher
  words+=(--device "$(device)")
  if has_label_noise; then
    run python -m wespk.bin.relabel --train-data "$(training_data)" --originals "$data/train" "${conf_words[@]}"
  fi
  note_data
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

# --- stage 4: embeddings --------------------------------------------------------------------------------------------
plan_4() {
  title=embeddings options=() outputs=() writes="$home/embeddings"
  if [ "$home" = "$exp" ]; then
    reads="$exp/checkpoints, $data/{eval,train}/feats.scp"
    inputs=("$(last_checkpoint)" "$data/train/feats.scp")
    if reads_labels; then
      inputs+=("$(given_labels)")
    else
      existing inputs "$(given_labels)"
    fi
    existing outputs "$exp/checkpoints/average.pt"
  else
    reads="$exp/checkpoints/average.pt, $tested/eval/feats.scp"
    inputs=("$exp/checkpoints/average.pt")
  fi
  existing inputs "$tested/eval/feats.scp" "$tested"/eval/feats/*.ark
  if [ "$home" = "$exp" ]; then
    existing inputs "$data"/train/feats/*.ark
  fi
  existing marks "$home"/embeddings/{eval,train}/xvector.*.json
  existing outputs "$home"/embeddings/{eval,train}/{xvector,spk_xvector}.{scp,ark}
}

build_on_features() { # stop unless the features of the sets $@ of $tested are those that the configuration asks for
  local options files beyond=() data=$tested foreign=
  if [ "$home" != "$exp" ]; then
    foreign=$tested
  fi
  feature_options features
  of_copies
  files=("${@/#/$data/}")
  files=("${files[@]/%//feats.scp}")
  build_on 2 "${options[@]}" "${files[@]}"
}

need_every_label() { # stop if labels.file leaves utterances out, of which $1 wants the speakers
  if has_label_file && [ "$(count "$(given_labels)")" -lt "$(count "$data/train/wav.scp")" ]; then
    die "$1 wants a speaker of every training utterance, of which $(given_labels) (labels.file) leaves some out: give $2"
  fi
}

check_4() {
  local path files=("$(last_checkpoint)") sets=(train) beyond=()
  if [ "$home" != "$exp" ]; then
    need 4 "$exp/checkpoints/average.pt"
    home=$exp build_on 4 "$exp/checkpoints/average.pt"
    need 2 "$tested/eval/feats.scp"
    build_on_features eval
    return
  fi
  if has_label_noise; then
    files+=("$(given_labels)")
  fi
  for path in "${files[@]}"; do
    need 3 "$path"
  done
  need 2 "$data/train/feats.scp"
  build_on 3 "${files[@]}"
  if [ -e "$data/eval/feats.scp" ]; then
    sets+=(eval)
  fi
  build_on_features "${sets[@]}"
}

work_4() {
  local name jobs words out sets=(eval)
  local -A jobs_of=()
  if [ "$home" = "$exp" ]; then
    sets=(train eval)
    run python -m wespk.bin.average_checkpoints --exp "$exp"
  fi
  for name in "${sets[@]}"; do
    if ! there "$tested/$name/feats.scp" 2; then
      continue
    fi
    out=$home/embeddings/$name
    words=(--device cpu --threads 1)
    if [ "$num_gpus" -gt 0 ]; then
      words=(--device cuda)
    fi
    jobs=$(array_size "$tested/$name/feats.scp" "$((num_gpus > 0 ? num_gpus * nodes : nj))")
    log="$out/log/extract.*.log"
    run "${submit[@]}" --gpus "$((num_gpus > 0 ? 1 : 0))" WESPK_JOB=1:"$jobs" "$out/log/extract.WESPK_JOB.log" \
      python -m wespk.bin.extract_embeddings --exp "$exp" --data "$tested/$name" --out "$out" \
      --job WESPK_JOB --num-jobs "$jobs" "${words[@]}"
    jobs_of[$name]=$jobs
  done
  for name in "${sets[@]}"; do # after all jobs, whose files it removes: should one fail, the others stay
    if [ -z "${jobs_of[$name]:-}" ]; then
      continue
    fi
    out=$home/embeddings/$name
    words=()
    if [ "$name" = train ] && ! has_label_file && { reads_labels || [ -e "$(given_labels)" ]; }; then
      words=(--speaker-means true --utt2spk "$(given_labels)")
    fi
    run python -m wespk.bin.extract_embeddings --data "$tested/$name" --out "$out" --num-jobs "${jobs_of[$name]}" \
      --merge true "${words[@]}"
    agree "$out/xvector.scp" "$(count "$out/xvector.scp")" "$(count "$tested/$name/feats.scp")"
  done
}

# shellcheck shell=bash
# shellcheck disable=SC2034 # arrays are filled by name
# PLDA in stage 5 (--scoring plda) and calibration in stage 6 (--calibrate). To be sourced by tools/stages.sh; see
# tools/stages/scores.sh, which calls these.

spell_plda() { # the names in --plda with dashes, so that another spelling is no other option
  local word name words=()
  for word in $plda; do
    name=${word%%=*}
    words+=("${name//_/-}${word#"$name"}")
  done
  plda="${words[*]}"
}

check_scoring_options() {
  local measure measures
  spell_plda
  if [[ ! $scoring =~ ^(cosine|plda)$ ]]; then
    die "--scoring takes cosine or plda, not '$scoring'"
  fi
  if [ -n "$plda" ] && [ "$scoring" != plda ]; then
    die "--plda says how PLDA is trained: give --scoring plda as well"
  fi
  if [[ ! $calibrate =~ ^(none|train|dev)$ ]]; then
    die "--calibrate takes none, train or dev, not '$calibrate'"
  fi
  if [ "$calibrate$scoring" = trainplda ]; then
    die "--calibrate train would calibrate PLDA on speakers that it was trained on, where it is far too sure: give \
--calibrate dev"
  fi
  if [ -n "$quality" ] && [ "$calibrate" = none ]; then
    die "--quality names measures for calibration: give --calibrate as well"
  fi
  if [ "$p_target" != 0.05 ] && [ "$calibrate" = none ]; then
    die "--p-target is the prior that calibration serves: give --calibrate as well"
  fi
  if [[ ! $p_target =~ ^(0?\.[0-9]*[1-9][0-9]*|[1-9](\.[0-9]+)?[eE]-[0-9]+)$ ]]; then
    die "--p-target takes a probability between 0 and 1, not '$p_target'"
  fi
  if [[ ! $l2 =~ ^0*\.?0*$ ]] && [ "$calibrate" = none ]; then
    die "--l2 is calibration's: give --calibrate as well"
  fi
  if [[ ! $l2 =~ ^[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$ ]]; then
    die "--l2 takes a number, 0 or more, not '$l2'"
  fi
  if [[ ! $top_n =~ ^[1-9][0-9]*$ ]]; then
    die "--top-n takes a number, 1 or more, not '$top_n'"
  fi
  if [[ $given == *" top_n "* && $score_norm != asnorm && ,$quality, != *,cohort,* ]]; then
    die "--top-n is the number of cohort scores of as-norm and of the quality measure cohort: without either, leave it out"
  fi
  if [[ $given == *" cohort "* && $score_norm$calibrate == nonenone ]]; then
    die "--cohort is what scores are normalised with and calibration is kept apart from: without either, leave it out"
  fi
  IFS=, read -ra measures <<<"$quality"
  for measure in "${measures[@]}"; do
    if [[ ! $measure =~ ^(duration|magnitude|cohort|snr)$ ]]; then
      die "--quality takes duration, magnitude, cohort and snr, separated by commas, not '$measure'"
    fi
  done
}

plda_word() { # the value of option $1 (with dashes) in --plda; nothing if it is not there
  local word
  for word in $plda; do
    if [ "${word%%=*}" = "$1" ]; then
      printf '%s' "${word#*=}"
    fi
  done
}

adaptation_inputs() { # append to the array named $1 the embeddings that --plda adapts to
  local scp
  scp=$(plda_word adapt-embeddings)
  existing "$1" "$scp" "${scp:+${scp%.scp}.ark}"
}

plda_words() { # $words: --plda as options of train_plda
  local word
  words=()
  for word in $plda; do
    words+=("--${word%%=*}" "${word#*=}")
  done
}

check_scoring_conf() { # before the first stage: what scoring asks for, as far as configuration and options tell
  local word words dim most scp
  if [ "$stop_stage" -lt 5 ]; then
    return
  fi
  if [[ ,$quality, == *,snr,* ]] && [ "$(conf features.type)" != fbank ]; then
    die "--quality snr is measured on log-mel features, and those of this configuration are of features.type=$(conf \
features.type): leave snr out"
  fi
  if [ "$scoring" != plda ]; then
    return
  fi
  for word in $plda; do
    if [[ ! $word =~ ^[a-z][a-z-]*=. ]]; then
      die "--plda takes words option=value with the options of wespk.bin.train_plda, not '$word'"
    elif [[ $word =~ ^(embeddings|utt2spk|out-dir|check)= ]]; then
      die "--plda: ${word%%=*} is not to be chosen here: leave it out"
    fi
  done
  plda_words
  if ! python -m wespk.bin.train_plda --embeddings - --utt2spk - --out-dir - --check true "${words[@]}"; then
    die "--plda '$plda' cannot be followed, for the reason above"
  fi
  dim=$(plda_word lda-dim) most=$(conf model.embed_dim) scp=$(plda_word adapt-embeddings)
  if [ "${dim:-0}" -gt "${most:-$dim}" ]; then
    die "--plda lda-dim=$dim: at most model.embed_dim=$most, the number of values in an embedding"
  elif [ -n "$dim" ] && [ "$stage" -gt 1 ] && [ -e "$data/train/spk2utt" ] &&
    [ "$dim" -ge "$(count "$data/train/spk2utt")" ]; then
    die "--plda lda-dim=$dim: $data/train has $(count "$data/train/spk2utt") speakers, and LDA takes more than it keeps dimensions"
  fi
  if [ -n "$scp" ] && [ "$stage" -ge 5 ] && [ ! -f "$scp" ]; then
    die "--plda adapt-embeddings=$scp: no such file"
  fi
}

plda_kinds() { # $plda_suffix: the suffix of the PLDA scores, if there are any; $plda_options: what decides them
  plda_suffix=() plda_options=()
  if [ "$scoring" = plda ]; then
    plda_suffix=(plda) plda_options=("plda=$plda")
  fi
}

# What scoring needs and what does not depend on the evaluation set is made once, in $exp, and serves every --eval-data:
# step $1 by the function make_$1, if its own account, of $step_options and $step_inputs, does not say that it is there.
made_here=' '
once() {
  local reason flags=() mark=("$WESPK_ROOT/tools/stage_mark.py") note=$exp/.stages/$1.json outputs=() outputs_flags=()
  add_flags flags --option "${step_options[@]}"
  add_flags flags --input "${step_inputs[@]}"
  if reason=$(python "${mark[@]}" check "$note" "${flags[@]}") &&
    { [ "$force" = false ] || [ "$home" != "$exp" ] || [[ $made_here == *" $1 "* ]]; }; then
    return
  fi
  lock exclusive "$exp"
  say "stage $current makes $1 in $exp, for every evaluation set: ${reason:-current, but --force}"
  python "${mark[@]}" begin "$note" "${flags[@]}"
  "make_$1"
  existing outputs "${step_outputs[@]}"
  add_flags outputs_flags --output "${outputs[@]}"
  python "${mark[@]}" "done" "$note" "${outputs_flags[@]}"
  made_here+="$1 "
  if [ "$home" != "$exp" ]; then
    lock shared "$exp"
  fi
}

backend() { # the PLDA model, in $exp/plda
  local step_options=("plda=$plda") step_inputs=("$exp"/embeddings/train/xvector.{scp,ark} "$(given_labels)")
  local step_outputs=("$exp"/plda/{backend.json,mean.vec,transform.mat,plda})
  adaptation_inputs step_inputs
  once plda
}

make_plda() {
  local words
  plda_words
  run python -m wespk.bin.train_plda --embeddings "$exp/embeddings/train/xvector.scp" --utt2spk "$(given_labels)" \
    --out-dir "$exp/plda" "${words[@]}"
}

calibrated_kinds() { # $kinds: the suffixes of the scores that are calibrated, each to SUFFIX.llr; and what plda_kinds sets
  plda_kinds
  kinds=()
  if [ "$calibrate" != none ]; then
    kinds=("cosine$(if [ "$score_norm" != none ]; then printf '.%s' "$score_norm"; fi)" "${plda_suffix[@]}")
  fi
}

calibration_options() { # append to $options what decides the calibrated scores
  if [ "$calibrate" != none ]; then
    options+=("calibrate=$calibrate" "quality=$quality" "p_target=$p_target" "l2=$l2" "scoring=$scoring")
    if [[ ,$quality, == *,cohort,* ]] && [ "$score_norm" != asnorm ]; then
      options+=("top_n=$top_n")
    fi
  fi
}

calibration_inputs() { # append to $inputs
  local set name
  if [ "$calibrate" = none ]; then
    return
  fi
  for name in "$data/$calibrate"/{utt2spk,utt2sess,utt2dur,feats.scp,trials/dev} "$tested"/eval/{utt2dur,feats.scp}; do
    existing inputs "$name"
  done
  for name in "${names[@]}"; do
    existing inputs "$home/scores/$name.plda"
  done
}

check_calibration() {
  local name scores plda_suffix plda_options
  if [ "$calibrate" = none ]; then
    return
  fi
  if [ "$calibrate$cohort" = trainspeaker ] && { has_label_noise || has_label_file; }; then
    die "--calibrate train makes its trials by the true speakers, and $(if has_label_file; then
      printf labels.file
    else
      printf 'labels.noise=%s' "$(conf labels.noise)"
    fi) the cohort's averages by wrong ones, so that trial speakers would be in the cohort: give --calibrate dev, or --cohort utterance"
  fi
  if [ "$calibrate" = dev ]; then
    need 1 "$data/dev/trials/dev"
    need 2 "$data/dev/feats.scp"
  fi
  plda_kinds
  score_files "${plda_suffix[@]}"
  for name in "${scores[@]}"; do
    need 5 "$name"
  done
  build_on 5 "${plda_options[@]}" "${scores[@]}"
}

quality_tables() { # $tables: the option that names the tables of measures in folder $1, if any are asked for
  tables=()
  if [ -n "$quality" ]; then
    tables=(--quality "$1/${quality//,/,$1/}")
  fi
}

# A unit that measures the quality of trial list $2 with embeddings $3 and the data folder $4 into folder $1; further
# options follow.
measure_quality() {
  local words=()
  if [[ ,$quality, == *,duration,* ]]; then
    words+=(--utt2dur "$4/utt2dur")
  fi
  if [[ ,$quality, == *,snr,* ]]; then
    words+=(--feats "$4/feats.scp")
  fi
  if [ -n "$quality" ]; then
    add_unit python -m wespk.bin.measure_quality --trials "$2" --embeddings "$3" --out-dir "$1" --top-n "$top_n" \
      --mean-embeddings "$exp/embeddings/train/xvector.scp" "${words[@]}" "${@:5}"
  fi
}

# Trials whose answers are known, to calibrate by: among some training speakers, the others being the cohort, or among
# the held-out ones. Sets $key (the trials), $heard (their embeddings), $source (their data folder), $others (the cohort).
calibration_trials() {
  local words=()
  if [ "$calibrate" = train ]; then
    existing words "$data/train/utt2sess"
    if [ "${#words[@]}" -gt 0 ]; then
      words=(--utt2sess "${words[0]}")
    fi
    run python -m wespk.bin.make_calibration_trials --utt2spk "$data/train/utt2spk" --out-dir "$home/calibration" \
      --embeddings "$exp/embeddings/train/xvector.scp" "${words[@]}"
    key=$home/calibration/trials heard=$exp/embeddings/train/xvector.scp
    source=$data/train others=$home/calibration/cohort.scp
    return
  fi
  key=$data/dev/trials/dev heard=$exp/calibration/dev/xvector.scp
  source=$data/dev others=$exp/embeddings/train/xvector.scp
  held_out
}

held_out() { # the embeddings of the held-out speakers, in $exp/calibration/dev
  local step_options=() step_inputs=("$exp/checkpoints/average.pt" "$data/dev/feats.scp")
  local step_outputs=("$exp"/calibration/dev/xvector.{scp,ark})
  existing step_inputs "$data"/dev/feats/*.ark
  once held_out_embeddings
}

make_held_out_embeddings() {
  local words=(--exp "$exp" --data "$data/dev" --out "$exp/calibration/dev") launcher
  find_single_launcher "$exp/calibration/dev/log/extract.log"
  run "${launcher[@]}" -m wespk.bin.extract_embeddings "${words[@]}" --device "$(device)"
  run python -m wespk.bin.extract_embeddings "${words[@]}" --merge true
}

about_calibration() { # for the report: what the log-likelihood ratios of stage 6 were learnt from
  local who="the held-out speakers"
  if [ "$calibrate" = train ]; then
    who="some training speakers, whom the network knows"
  fi
  printf '%s' "The calibrated scores, *.llr, are log-likelihood ratios learnt from trials among $who\
${quality:+, with quality measures ($quality)}, for a prior of $p_target."
}

work_calibration() {
  local key heard source others kind kinds name mean tables models plda_suffix plda_options cohort_words=() folder=$home/calibration
  calibrated_kinds
  if [ "${#kinds[@]}" -eq 0 ]; then
    return
  fi
  mean=(--mean-embeddings "$exp/embeddings/train/xvector.scp")
  calibration_trials
  if [ "$cohort" = speaker ]; then
    cohort_words=(--cohort-utt2spk "$(given_labels)")
  fi
  if [ "$scoring" = plda ]; then
    backend
    add_unit python -m wespk.bin.score_plda --trials "$key" --embeddings "$heard" --backend "$exp/plda" \
      --out "$folder/plda"
  fi
  add_unit python -m wespk.bin.score_cosine --trials "$key" --embeddings "$heard" "${mean[@]}" --out "$folder/cosine"
  measure_quality "$folder/quality" "$key" "$heard" "$source" --cohort-scp "$others" "${cohort_words[@]}"
  for name in "${names[@]}"; do
    models_of "$name"
    measure_quality "$folder/$name.quality" "$tested/eval/trials/$name" "$home/embeddings/eval/xvector.scp" \
      "$tested/eval" --cohort-scp "$exp/embeddings/train/xvector.scp" "${cohort_words[@]}" "${models[@]}"
  done
  run_units calibration
  if [ "$score_norm" != none ]; then
    add_unit python -m wespk.bin.score_norm --scores "$folder/cosine" --embeddings "$heard" "${mean[@]}" \
      --cohort-scp "$others" "${cohort_words[@]}" --method "$score_norm" --top-n "$top_n" --utt2spk "$source/utt2spk" \
      --out "$folder/cosine.$score_norm"
    run_units calibration_norm
  fi
  quality_tables "$folder/quality"
  for kind in "${kinds[@]}"; do
    run python -m wespk.bin.train_calibration --scores "$folder/$kind" --trials "$key" --out "$folder/$kind.json" \
      --p-target "$p_target" --l2 "$l2" "${tables[@]}"
  done
  for name in "${names[@]}"; do
    quality_tables "$folder/$name.quality"
    for kind in "${kinds[@]}"; do
      run python -m wespk.bin.apply_calibration --model "$folder/$kind.json" --scores "$home/scores/$name.$kind" \
        --out "$home/scores/$name.$kind.llr" "${tables[@]}"
      agree "$home/scores/$name.$kind.llr" "$(count "$home/scores/$name.$kind.llr")" \
        "$(count "$home/scores/$name.$kind")"
    done
  done
}

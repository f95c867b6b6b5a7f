# shellcheck shell=bash
# shellcheck disable=SC2034 # the plans' variables are read by tools/run_stage.sh
# Stages 5 to 7: scores, their normalisation, metrics and report. To be sourced by tools/stages.sh; see
# tools/run_stage.sh for what plan_N, check_N and work_N are.

plan_scores() { # the embeddings and trial lists that scores depend on, in $inputs; the lists' names in $names
  local name text
  inputs=("$home"/embeddings/eval/xvector.{scp,ark} "$exp"/embeddings/train/xvector.{scp,ark})
  text=$(trial_lists)
  names=()
  if [ -n "$text" ]; then
    mapfile -t names <<<"$text"
  fi
  for name in "${names[@]}"; do
    inputs+=("$tested/eval/trials/$name")
    existing inputs "$tested/eval/enroll_maps/$name"
  done
}

models_of() { # $models: the option that says what the enrolments of list $1 are averages over, if they are
  models=()
  existing models "$tested/eval/enroll_maps/$1"
  if [ "${#models[@]}" -gt 0 ]; then
    models=(--models "${models[0]}" --enroll-mean "$enroll_mean")
  fi
}

mean_options() { # append to $options the kind of averages, if there are any among the enrolments
  local name found=()
  for name in "${names[@]}"; do
    existing found "$tested/eval/enroll_maps/$name"
  done
  if [ "${#found[@]}" -gt 0 ]; then
    options+=("enroll_mean=$enroll_mean")
  elif [ "$enroll_mean" != normalised ]; then
    die "--enroll-mean $enroll_mean is about enrolments that are averages, and no list here has any ($tested/eval/enroll_maps)"
  fi
}

check_scores() {
  local path name
  if [ "${#names[@]}" -eq 0 ]; then
    if [ "$home" != "$exp" ]; then
      die "stage $current needs trial lists in $tested/eval/trials: --eval-data takes a data folder that stages 1 and 2 of that \
corpus's recipe made (egs/CORPUS/RECIPE/data), not the corpus itself"
    fi
    die "stage $current needs trial lists in $tested/eval/trials, which stage 1 makes: run --stage 1 first"
  fi
  for name in "${names[@]}"; do
    if [ ! -f "$tested/eval/trials/$name" ]; then
      die "--trials $name: there is no $tested/eval/trials/$name (there is: $(ls -m "$tested/eval/trials"))"
    fi
  done
  for path in "${inputs[@]}"; do
    need 4 "$path"
  done
  build_on 4 "$home"/embeddings/eval/xvector.{scp,ark}
  home=$exp build_on 4 "$exp"/embeddings/train/xvector.{scp,ark}
}

embeddings_read() { # for the line that announces a stage
  if [ "$home" = "$exp" ]; then
    printf '%s' "$exp/embeddings"
  else
    printf '%s' "$home/embeddings, $exp/embeddings/train"
  fi
}

score_files() { # $scores: the files of all lists to be scored, with each of the suffixes $@
  local name suffix
  scores=()
  for suffix in "$@"; do
    for name in "${names[@]}"; do
      scores+=("$home/scores/$name.$suffix")
    done
  done
}

mining() { # which of SphereSpeaker's options for mining are set; with any of them its bias says nothing
  local name value
  for name in positive_power top_k gradient_ratio; do
    value=$(conf "loss.$name")
    if [ "$(conf loss.name)" = spherespeaker ] && [[ $value == *[1-9]* ]]; then
      printf ' loss.%s=%s' "$name" "$value"
    fi
  done
}

bias_suffixes() { # $suffixes: of the scores by the loss's own bias, nothing for losses that have none
  suffixes=()
  case $(conf loss.name) in
    sphereface2 | spherespeaker)
      if [ -z "$(mining)" ]; then
        suffixes=(bias.llr bias.json)
      fi
      ;;
  esac
}

plan_5() {
  local scores suffixes plda_suffix plda_options
  bias_suffixes
  plda_kinds
  title=scoring reads="$(embeddings_read), $tested/eval/trials" writes="$home/scores/LIST.cosine"
  options=("mean=train") outputs=()
  plan_scores
  mean_options
  if [ "${#suffixes[@]}" -gt 0 ]; then
    inputs+=("$exp/checkpoints/average.pt")
    reads+=", $exp/checkpoints/average.pt" writes+=", LIST.bias.llr"
  fi
  if [ "$scoring" = plda ]; then
    options+=("${plda_options[@]}") inputs+=("$(given_labels)") writes+=", LIST.plda"
    adaptation_inputs inputs
  fi
  score_files cosine "${suffixes[@]}" "${plda_suffix[@]}"
  existing outputs "${scores[@]}"
}

check_5() {
  local suffixes
  bias_suffixes
  check_scores
  if [ "$scoring" = plda ]; then
    need_every_label "--scoring plda" "--scoring cosine, or keep all (clusters.keep=1 clusters.min_utts=1)"
  fi
  if [ "${#suffixes[@]}" -gt 0 ]; then
    home=$exp build_on 4 "$exp/checkpoints/average.pt"
  fi
}

work_5() {
  local name suffix suffixes models plda_suffix plda_options
  bias_suffixes
  plda_kinds
  if [ -n "$(mining)" ]; then
    say "stage $current makes no LIST.bias.llr: with mining ($(mining | cut -c 2-)) the loss's bias is no log-odds"
  fi
  if [ "$scoring" = plda ]; then
    backend
  fi
  for name in "${names[@]}"; do
    models_of "$name"
    add_unit python -m wespk.bin.score_cosine --trials "$tested/eval/trials/$name" --out "$home/scores/$name.cosine" \
      --embeddings "$home/embeddings/eval/xvector.scp" --mean-embeddings "$exp/embeddings/train/xvector.scp" \
      "${models[@]}"
    if [ "${#suffixes[@]}" -gt 0 ]; then
      add_unit python -m wespk.bin.score_bias --trials "$tested/eval/trials/$name" --out "$home/scores/$name.bias.llr" \
        --embeddings "$home/embeddings/eval/xvector.scp" --checkpoint "$exp/checkpoints/average.pt" \
        "${models[@]}"
    fi
    if [ "$scoring" = plda ]; then
      add_unit python -m wespk.bin.score_plda --trials "$tested/eval/trials/$name" --out "$home/scores/$name.plda" \
        --embeddings "$home/embeddings/eval/xvector.scp" --backend "$exp/plda" "${models[@]}"
    fi
  done
  run_units scoring
  for name in "${names[@]}"; do
    for suffix in cosine "${suffixes[@]:0:1}" "${plda_suffix[@]}"; do
      agree "$home/scores/$name.$suffix" "$(count "$home/scores/$name.$suffix")" "$(count "$tested/eval/trials/$name")"
    done
  done
}

norm_options() { # $options: what decides the normalised scores
  options=("score_norm=$score_norm" "cohort=$cohort")
  if [ "$score_norm" = asnorm ]; then
    options+=("top_n=$top_n")
  fi
  mean_options
  calibration_options
}

plan_6() {
  local name kind kinds plda_suffix plda_options
  title="score normalisation" reads="$home/scores/LIST.cosine" writes="$home/scores/LIST.cosine.$score_norm"
  outputs=()
  plan_scores
  norm_options
  if reads_labels || [ "$cohort" = speaker ]; then
    inputs+=("$(given_labels)")
  else
    existing inputs "$(given_labels)"
  fi
  calibrated_kinds
  calibration_inputs
  if [ "${#kinds[@]}" -gt 0 ]; then
    title+=" and calibration" writes+=", LIST.*.llr"
  fi
  for name in "${names[@]}"; do
    inputs+=("$home/scores/$name.cosine")
    existing outputs "$home/scores/$name.cosine.$score_norm"
    for kind in "${kinds[@]}"; do
      existing outputs "$home/scores/$name.$kind.llr"
    done
  done
}

check_6() {
  local name scores options=()
  for name in "${names[@]}"; do
    need 5 "$home/scores/$name.cosine"
  done
  if has_label_noise; then
    need 3 "$(given_labels)"
  fi
  if [ "$cohort" = speaker ] && [ "$score_norm$calibrate" != nonenone ]; then
    need_every_label "--cohort speaker" "--cohort utterance"
  fi
  check_scores
  score_files cosine
  mean_options
  build_on 5 "${options[@]}" "${scores[@]}"
  check_calibration
}

work_6() {
  work_norm
  work_calibration
}

work_norm() {
  local name out models words=(--method "$score_norm" --top-n "$top_n"
    --embeddings "$home/embeddings/eval/xvector.scp" --mean-embeddings "$exp/embeddings/train/xvector.scp"
    --cohort-scp "$exp/embeddings/train/xvector.scp")
  if [ "$score_norm" = none ]; then
    return
  fi
  if [ "$cohort" = speaker ]; then
    words+=(--cohort-utt2spk "$(given_labels)")
  fi
  if is_other_corpus; then
    words+=(--other-corpus true)
  else
    words+=(--utt2spk "$tested/eval/utt2spk")
  fi
  for name in "${names[@]}"; do
    models_of "$name"
    add_unit python -m wespk.bin.score_norm --scores "$home/scores/$name.cosine" \
      --out "$home/scores/$name.cosine.$score_norm" "${words[@]}" "${models[@]}"
  done
  run_units score_norm
  for name in "${names[@]}"; do
    out=$home/scores/$name.cosine.$score_norm
    agree "$out" "$(count "$out")" "$(count "$home/scores/$name.cosine")"
  done
}

report_suffixes() { # $reported: the suffixes of the score files that are reported, in this order; and $suffixes
  bias_suffixes
  reported=(cosine)
  if [ "$score_norm" != none ]; then
    reported+=("cosine.$score_norm")
  fi
  if [ "${#suffixes[@]}" -gt 0 ]; then
    reported+=(bias.llr)
  fi
  calibrated_kinds
  reported+=("${plda_suffix[@]}" "${kinds[@]/%/.llr}")
}

plan_7() {
  local name reported scores suffixes kinds plda_suffix plda_options
  title="metrics and report" reads="$home/scores" writes="$home/results"
  options=() inputs=() outputs=()
  plan_scores
  mean_options
  inputs=("$tested/eval/utt2spk")
  existing inputs "$expected" "$tested/eval/utt2genre"
  for name in "${names[@]}"; do
    inputs+=("$tested/eval/trials/$name")
    existing inputs "$tested/eval/enroll_maps/$name"
  done
  report_suffixes
  score_files "${reported[@]}" "${suffixes[@]:1}"
  inputs+=("${scores[@]}")
  existing outputs "$home"/results/{metrics.json,RESULTS.md,report.html,det.png,eer_by_genre.png}
}

left_out() { # say which trial lists the report, which is written anew, will not hold
  local path others=()
  for path in "$tested"/eval/trials/*; do
    if [ -f "$path" ] && [[ " ${names[*]} " != *" $(basename "$path") "* ]]; then
      others+=("$(basename "$path")")
    fi
  done
  if [ "${#others[@]}" -gt 0 ]; then
    say "stage $current reports on ${names[*]} alone (--trials): without ${others[*]}"
  fi
}

check_7() {
  local path scores options suffixes kinds plda_suffix plda_options
  bias_suffixes
  calibrated_kinds
  left_out
  score_files cosine "${suffixes[@]}" "${plda_suffix[@]}"
  for path in "${scores[@]}"; do
    need 5 "$path"
  done
  options=("${plda_options[@]}")
  mean_options
  build_on 5 "${options[@]}" "${scores[@]}"
  if [ "$score_norm$calibrate" != nonenone ]; then
    score_files "${kinds[@]/%/.llr}"
    if [ "$score_norm" != none ]; then
      score_files "cosine.$score_norm" "${kinds[@]/%/.llr}"
    fi
    for path in "${scores[@]}"; do
      need 6 "$path"
    done
    norm_options
    build_on 6 "${options[@]}" "${scores[@]}"
  fi
}

work_7() {
  local name suffix suffixes reported kinds plda_suffix plda_options scores='' keys='' readings='' measure=() words=() about=
  report_suffixes
  for name in "${names[@]}"; do
    for suffix in "${reported[@]}"; do
      scores+="$home/scores/$name.$suffix,"
      keys+="$tested/eval/trials/$name,"
    done
    readings+="$home/scores/$name.bias.json,"
  done
  if [ "${#suffixes[@]}" -gt 0 ]; then
    measure=(--readings "$readings")
  fi
  if [ -e "$tested/eval/utt2genre" ]; then
    measure+=(--categories "$tested/eval/utt2genre")
  fi
  if [ -d "$tested/eval/enroll_maps" ]; then
    measure+=(--models "$tested/eval/enroll_maps" --enroll-mean "$enroll_mean")
  fi
  if [ -n "$expected" ]; then
    words+=(--expected "$expected")
  fi
  if [ "$home" != "$exp" ]; then
    words+=(--title "$(basename "$exp") on $eval_name")
    about="Trained on $(training_data); tested on $tested/eval. The mean that is subtracted and the cohort are of the training set."
  fi
  if [ "$calibrate" != none ]; then
    about+=${about:+ }$(about_calibration)
  fi
  if [ -n "$about" ]; then
    words+=(--about "$about")
  fi
  run python -m wespk.bin.compute_metrics --scores "$scores" --trials "$keys" --utt2spk "$tested/eval/utt2spk" \
    --out "$home/results/metrics.json" "${measure[@]}" >/dev/null
  run python -m wespk.bin.make_report --metrics "$home/results/metrics.json" --out-dir "$home/results" "${words[@]}" \
    >/dev/null
}

# shellcheck shell=bash
# shellcheck disable=SC2034 # the plans' variables are read by tools/run_stage.sh
# Stages 5 to 7: scores, their normalisation, metrics and report. To be sourced by tools/stages.sh; see
# tools/run_stage.sh for what plan_N, check_N and work_N are.

plan_scores() { # the embeddings and trial lists that scores depend on, in $inputs; the lists' names in $names
  local name text
  inputs=("$exp"/embeddings/{eval,train}/xvector.{scp,ark})
  text=$(trial_lists)
  names=()
  if [ -n "$text" ]; then
    mapfile -t names <<<"$text"
  fi
  for name in "${names[@]}"; do
    inputs+=("$data/eval/trials/$name")
  done
}

check_scores() {
  local path name
  if [ "${#names[@]}" -eq 0 ]; then
    die "stage $current needs trial lists in $data/eval/trials, which stage 1 makes: run --stage 1 first"
  fi
  for name in "${names[@]}"; do
    if [ ! -f "$data/eval/trials/$name" ]; then
      die "--trials $name: there is no $data/eval/trials/$name (there is: $(ls -m "$data/eval/trials"))"
    fi
  done
  for path in "${inputs[@]}"; do
    need 4 "$path"
  done
  build_on 4 "$exp"/embeddings/{eval,train}/xvector.{scp,ark}
}

score_files() { # $scores: the files of all lists to be scored, with each of the suffixes $@
  local name suffix
  scores=()
  for suffix in "$@"; do
    for name in "${names[@]}"; do
      scores+=("$exp/scores/$name.$suffix")
    done
  done
}

bias_suffixes() { # $suffixes: of the scores by the loss's own bias, nothing for losses that have none
  suffixes=()
  if [ "$(conf loss.name)" = sphereface2 ]; then
    suffixes=(bias.llr bias.json)
  fi
}

plan_5() {
  local scores suffixes
  bias_suffixes
  title=scoring reads="$exp/embeddings, $data/eval/trials" writes="$exp/scores/LIST.cosine"
  options=("mean=train") outputs=()
  plan_scores
  if [ "${#suffixes[@]}" -gt 0 ]; then
    inputs+=("$exp/checkpoints/average.pt")
    reads+=", $exp/checkpoints/average.pt" writes+=", LIST.bias.llr"
  fi
  score_files cosine "${suffixes[@]}"
  existing outputs "${scores[@]}"
}

check_5() {
  local suffixes
  bias_suffixes
  check_scores
  if [ "${#suffixes[@]}" -gt 0 ]; then
    build_on 4 "$exp/checkpoints/average.pt"
  fi
}

work_5() {
  local name out suffixes
  bias_suffixes
  for name in "${names[@]}"; do
    out=$exp/scores/$name.cosine
    run python -m wespk.bin.score_cosine --trials "$data/eval/trials/$name" --out "$out" \
      --embeddings "$exp/embeddings/eval/xvector.scp" --mean-embeddings "$exp/embeddings/train/xvector.scp"
    agree "$out" "$(count "$out")" "$(count "$data/eval/trials/$name")"
    if [ "${#suffixes[@]}" -gt 0 ]; then
      out=$exp/scores/$name.bias.llr
      run python -m wespk.bin.score_bias --trials "$data/eval/trials/$name" --out "$out" \
        --embeddings "$exp/embeddings/eval/xvector.scp" --checkpoint "$exp/checkpoints/average.pt"
      agree "$out" "$(count "$out")" "$(count "$data/eval/trials/$name")"
    fi
  done
}

norm_options() { # $options: what decides the normalised scores
  options=("score_norm=$score_norm" "cohort=$cohort")
  if [ "$score_norm" = asnorm ]; then
    options+=("top_n=$top_n")
  fi
}

plan_6() {
  local name
  title="score normalisation" reads="$exp/scores/LIST.cosine" writes="$exp/scores/LIST.cosine.$score_norm"
  outputs=()
  norm_options
  plan_scores
  inputs+=("$(given_labels)")
  for name in "${names[@]}"; do
    inputs+=("$exp/scores/$name.cosine")
    existing outputs "$exp/scores/$name.cosine.$score_norm"
  done
}

check_6() {
  local name scores
  for name in "${names[@]}"; do
    need 5 "$exp/scores/$name.cosine"
  done
  if has_label_noise; then
    need 3 "$(given_labels)"
  fi
  check_scores
  score_files cosine
  build_on 5 "${scores[@]}"
}

work_6() {
  local name out words=(--method "$score_norm" --top-n "$top_n" --utt2spk "$data/eval/utt2spk"
    --embeddings "$exp/embeddings/eval/xvector.scp" --mean-embeddings "$exp/embeddings/train/xvector.scp"
    --cohort-scp "$exp/embeddings/train/xvector.scp")
  if [ "$score_norm" = none ]; then
    return
  fi
  if [ "$cohort" = speaker ]; then
    words+=(--cohort-utt2spk "$(given_labels)")
  fi
  for name in "${names[@]}"; do
    out=$exp/scores/$name.cosine.$score_norm
    run python -m wespk.bin.score_norm --scores "$exp/scores/$name.cosine" --out "$out" "${words[@]}"
    agree "$out" "$(count "$out")" "$(count "$exp/scores/$name.cosine")"
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
}

plan_7() {
  local name reported scores suffixes
  title="metrics and report" reads="$exp/scores" writes="$exp/results"
  options=() inputs=() outputs=()
  plan_scores
  inputs=("$data/eval/utt2spk")
  existing inputs "$expected"
  for name in "${names[@]}"; do
    inputs+=("$data/eval/trials/$name")
  done
  report_suffixes
  score_files "${reported[@]}" "${suffixes[@]:1}"
  inputs+=("${scores[@]}")
  existing outputs "$exp"/results/{metrics.json,RESULTS.md,report.html,det.png}
}

left_out() { # say which trial lists the report, which is written anew, will not hold
  local path others=()
  for path in "$data"/eval/trials/*; do
    if [ -f "$path" ] && [[ " ${names[*]} " != *" $(basename "$path") "* ]]; then
      others+=("$(basename "$path")")
    fi
  done
  if [ "${#others[@]}" -gt 0 ]; then
    say "stage $current reports on ${names[*]} alone (--trials): without ${others[*]}"
  fi
}

check_7() {
  local path scores options suffixes
  bias_suffixes
  left_out
  score_files cosine "${suffixes[@]}"
  for path in "${scores[@]}"; do
    need 5 "$path"
  done
  build_on 5 "${scores[@]}"
  if [ "$score_norm" != none ]; then
    score_files "cosine.$score_norm"
    for path in "${scores[@]}"; do
      need 6 "$path"
    done
    norm_options
    build_on 6 "${options[@]}" "${scores[@]}"
  fi
}

work_7() {
  local name suffix suffixes reported scores='' keys='' readings='' measure=() words=()
  report_suffixes
  for name in "${names[@]}"; do
    for suffix in "${reported[@]}"; do
      scores+="$exp/scores/$name.$suffix,"
      keys+="$data/eval/trials/$name,"
    done
    readings+="$exp/scores/$name.bias.json,"
  done
  if [ "${#suffixes[@]}" -gt 0 ]; then
    measure=(--readings "$readings")
  fi
  if [ -n "$expected" ]; then
    words=(--expected "$expected")
  fi
  run python -m wespk.bin.compute_metrics --scores "$scores" --trials "$keys" --utt2spk "$data/eval/utt2spk" \
    --out "$exp/results/metrics.json" "${measure[@]}" >/dev/null
  run python -m wespk.bin.make_report --metrics "$exp/results/metrics.json" --out-dir "$exp/results" "${words[@]}" \
    >/dev/null
}

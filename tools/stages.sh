# shellcheck shell=bash
# shellcheck disable=SC2034 # options are used by name
# The numbered stages, once for all recipes; to be sourced by a recipe's run.sh, which gives its own choices as
# options before the user's (of repeated options the last one counts):
#
#     . tools/stages.sh --recipe DIR --corpus voxceleb --default-config DIR/conf/resnet34.yaml "$@"
#
# This file turns the options into an experiment; the stages themselves are in tools/stages/.

set -euo pipefail
stages_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# --- options --------------------------------------------------------------------------------------------------------
recipe=$PWD
corpus=
default_config=
corpus_script=
stage=1
stop_stage=7
force=false
dry_run=false
status=false
config=
overlay=
set=
epochs=
seed=
lm_overlay=
lm_set=
pl_conf=
pl_set=
pl_train_set=
pl_epochs=
refine=large-margin
exp=
data=
eval_data=
eval_name=
nj=$(getconf _NPROCESSORS_ONLN)
gpus=
nodes=1
processes=
threads=4
time=
cmd=local
voxceleb1=
voxceleb2=
cnceleb1=
cnceleb2=
musan=
rirs=
lists=
train_sets=
dev_speakers=40
min_seconds=
default_min_seconds=
default_cohort=speaker
default_top_n=300
check_audio=true
trials=
score_norm=asnorm
top_n=
cohort=
enroll_mean=normalised
scoring=cosine
plda=
calibrate=none
quality=
p_target=0.05
l2=0.0
expected=
help_message="usage: bash run.sh [--option value ...]

stages: 1 data  2 features  3 training  4 embeddings  5 scoring  6 score normalisation  7 metrics and report
8 large-margin fine-tuning of the experiment, in EXP-lm, by stages 3 to 7; in recipes without labels training on
pseudo-labels instead, clusters of the training embeddings, in EXP-pl1, EXP-pl2, ...
Without options 1 to 7 are run. A stage that is done and whose inputs and options have not changed is skipped.
Every option takes a value; that of a BOOL is true or false.

which stages, which experiment
  --stage N            first stage
  --stop-stage N       last stage
  --force BOOL         do the stages asked for even if they are done and current
                       (a training that is done or whose data changed is begun anew: its checkpoints are removed
                       first); a command that was stopped goes on when it is given again
  --dry-run            print what would be run or submitted, stage by stage, and do nothing
  --status             print which stages are whole, stale (and why), running, interrupted or missing, and do nothing;
                       judged by the options given: ask about an experiment with those that it was run with
  --config FILE        configuration; empty: the recipe's default, but the experiment's own from stage 4 on, and with
                       --exp from stage 3 on, unless --overlay, --set, --epochs or --seed is given
  --overlay FILES      YAML laid over the configuration; several: separated by commas, the last one counts most
  --set WORDS          further options in one argument: 'section.key=value section.key=value'
  --epochs N           train for so many epochs, warm-up and margin schedule in proportion; empty: as configured
                       (the experiment itself; the rounds of pseudo-labels in stage 8: --pl-epochs)
  --seed N             seed of the training (the configuration's 'seed'); empty: as configured
  --lm-overlay FILES   stage 8: YAML laid over the experiment's own configuration; empty: RECIPE/conf/lmft.yaml
  --lm-set WORDS       stage 8: further options, as --set
  --pl-conf FILE       stage 8 by pseudo-labels: YAML laid over wespk/conf/pseudo_labels.yaml, with rounds, clusters and
                       the configuration of the trainings; empty: RECIPE/conf/pseudo_labels.yaml
  --pl-set WORDS       stage 8 by pseudo-labels: further options of that, 'rounds=1 clusters.number=300' for instance
  --pl-train-set WORDS  stage 8 by pseudo-labels: further options of the trainings, as --set
  --pl-epochs N        stage 8 by pseudo-labels: what --epochs is, but of the trainings
  --exp DIR            experiment folder; empty: RECIPE/exp/NAME, after the configuration, overlays, epochs and seed
  --data DIR           folder for the data; empty: RECIPE/data
  --eval-data DIR      stages 4 to 7: test on the evaluation set of this data folder, which stages 1 and 2 of any recipe
                       made with the same 'features' section, instead of the experiment's own. The mean and the cohort
                       stay those of the experiment's training set; its own stage 4, which embeds that, is run first if
                       need be. Everything else goes to EXP/on/NAME/{embeddings,scores,results}
                       A folder without the note of a stage 1 of ours (.stages) is taken to be of the recipe's corpus,
                       whose speakers have one name in both; if it is not, write its corpus's name into DIR/corpus
  --eval-name NAME     that NAME; empty: after the folder (egs/NAME/RECIPE/data, NAME/data or NAME)
how to run
  --nj N               array jobs of stages 2 and 4 (on GPUs: one a GPU), most jobs of 5 and 6
  --gpus N             GPUs for stages 3 and 4, on each node; 0: none; empty: all that are visible (with a scheduler it
                       has to be said)
  --nodes N            nodes for stage 3, with a scheduler
  --processes N        training processes on each node: with GPUs one a GPU, without 1 unless given
  --threads N          CPU cores for each training process and each scoring job, with a scheduler
  --time T             time limit of a training job, with a scheduler (MINUTES, HH:MM:SS or DAYS-HH:MM:SS): before it is
                       over training writes a checkpoint, and goes on in another job
  --cmd WORD           where jobs run: local, another tools/submit/WORD.py, or a script of Kaldi's with its options
corpora (stage 1)
  --voxceleb1 DIR      VoxCeleb1
  --voxceleb2 DIR      VoxCeleb2
  --cnceleb1 DIR       CN-Celeb1, the folder with data, dev and eval, or its parent
  --cnceleb2 DIR       CN-Celeb2, the folder with data and spk.lst, or its parent
  --musan DIR          MUSAN: folders noise, music and speech
  --rirs DIR           room impulse responses
  --lists DIR          trial lists; empty: they lie in the corpus folders
  --train-sets LIST    of vox1_dev,vox2_dev; empty: one for each corpus given
  --dev-speakers N     training speakers held out to watch the training
  --min-seconds N      join training utterances shorter than N seconds with others of their speaker and genre until they
                       last so long; no audio is written, data/train/utt2utts says which; 0: as they are
  --check-audio BOOL   decode every recording to look for damage
  --trials LIST        trial lists to score, comma-separated; empty: all
scoring (stages 5 to 7)
  --score-norm KIND    asnorm, snorm, znorm, tnorm or none
  --top-n N            cohort scores that asnorm keeps for each side; as the recipe says (mini: 50), else 300
  --cohort KIND        speaker (mean of each training speaker) or utterance; as the recipe says (selfsup: utterance), else speaker
  --enroll-mean KIND   of enrolments that are averages over several utterances (data/eval/enroll_maps): normalised, the mean
                       of centred and length-normalised embeddings, or plain, of embeddings as they are; the report says which
  --scoring KIND       cosine, or plda: PLDA's scores as well, in LIST.plda
  --plda WORDS         how PLDA is trained, 'lda-dim=100 whiten=true' for instance; see wespk.bin.train_plda --help
  --calibrate KIND     log-likelihood ratios in LIST.*.llr, learnt from trials of known answer: among held-out speakers
                       (dev), or some of the training speakers (train), whom the network knows; none
  --quality LIST       of duration, magnitude, cohort and snr: measures that calibration takes into account; a few
                       hundred trials are too few to learn from them
  --p-target P         prior probability of a target that calibration should serve best
  --l2 WEIGHT          penalty on calibration's weights, 1e-3 for instance, where the scores part its trials without error
  --expected FILE      recorded results (YAML) with which the report compares
what a recipe says of itself
  --recipe DIR         folder of the recipe: its data, exp and conf
  --corpus NAME        see wespk/corpora
  --refine KIND        what stage 8 is: large-margin or pseudo-labels
  --default-config FILE  configuration without --config
  --default-min-seconds N  --min-seconds if that is not given
  --default-cohort KIND  --cohort if that is not given
  --default-top-n N      --top-n if that is not given
  --corpus-script FILE   bash script to run before stage 1, to make the corpus"
printf -v command_words '%q ' "$@"
given=" " # the names of the options on the command line
for word in "$@"; do
  if [[ $word == --* ]]; then
    word=${word%%=*} word=${word#--}
    given+="${word//-/_} "
  fi
done
. "$stages_root/tools/parse_options.sh"
min_seconds=${min_seconds:-$default_min_seconds}
cohort=${cohort:-$default_cohort}
top_n=${top_n:-$default_top_n}
. "$stages_root/tools/run_stage.sh"
for file in "$stages_root"/tools/stages/*.sh; do
  . "$file"
done

# --- small tools ----------------------------------------------------------------------------------------------------
absolute() { # the one absolute form of a path (links stay as they are); nothing for nothing
  if [ -n "$1" ]; then
    realpath -sm -- "$1"
  fi
}

absolute_each() { # the same for each of several paths that commas separate
  local paths path found=
  IFS=, read -ra paths <<<"$1"
  for path in "${paths[@]}"; do
    found+=,$(absolute "$path")
  done
  printf '%s' "${found#,}"
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

data_sets() { # those of train, dev and eval that there are
  local name
  for name in train dev eval; do
    if [ -s "$data/$name/wav.scp" ] || { [ -n "$ahead" ] && [ ! -e "$data/train" ]; }; then
      printf '%s\n' "$name"
    fi
  done
}

trial_lists() { # the trial lists to score, by name
  local name
  if [ -n "$trials" ] && [ "$stage" -gt 1 ]; then
    tr , '\n' <<<"$trials"
  elif [ -d "$tested/eval/trials" ]; then
    for name in "$tested"/eval/trials/*; do
      if [ -f "$name" ]; then
        basename "$name"
      fi
    done
  elif [ -n "$ahead" ]; then
    printf 'LIST\n'
  fi
}

existing() { # append those of the paths that exist to the array named $1
  local -n array=$1
  local path
  for path in "${@:2}"; do
    if [ -e "$path" ]; then
      array+=("$path")
    fi
  done
}

# --- from the options to the stages ---------------------------------------------------------------------------------
check_options() {
  local name
  for name in "$stage" "$stop_stage"; do
    if [ "$name" -lt 1 ] || [ "$name" -gt 8 ]; then
      die "there is no stage $name; the stages are 1 to 8 (--help says what each does)"
    fi
  done
  if [ "$stage" -eq 8 ] && [[ $given != *" stop_stage "* ]]; then
    stop_stage=8
  fi
  if [ "$stage" -gt "$stop_stage" ]; then
    die "--stage $stage comes after --stop-stage $stop_stage"
  fi
  if [ -n "$lm_overlay$lm_set" ] && [ "$stop_stage" -lt 8 ]; then
    die "--lm-overlay and --lm-set are for stage 8, which is not asked for: give --stop-stage 8 as well"
  fi
  if [ -n "$pl_conf$pl_set$pl_train_set$pl_epochs" ] && [ "$stop_stage" -lt 8 ]; then
    die "--pl-conf, --pl-set, --pl-train-set and --pl-epochs are for stage 8, which is not asked for: give --stop-stage 8 as well"
  fi
  if [[ ! $refine =~ ^(large-margin|pseudo-labels)$ ]]; then
    die "--refine takes large-margin or pseudo-labels, not '$refine'"
  fi
  if [ "$refine" = pseudo-labels ] && [ -n "$lm_overlay$lm_set" ]; then
    die "stage 8 of this recipe is training on pseudo-labels: give --pl-conf, --pl-set, --pl-train-set or --pl-epochs in place \
of --lm-..."
  elif [ "$refine" = large-margin ] && [ -n "$pl_conf$pl_set$pl_train_set$pl_epochs" ]; then
    die "stage 8 of this recipe is large-margin fine-tuning: give --lm-overlay or --lm-set in place of --pl-..."
  fi
  if [ -n "$eval_data" ] && { [ "$stage" -lt 4 ] || [ "$stop_stage" -gt 7 ]; }; then
    die "--eval-data is for stages 4 to 7, the evaluation of a trained experiment: give --stage 4 or more, and no \
--stop-stage above 7 (what stage 8 made is an experiment of its own: --exp EXP-lm or EXP-pl1)"
  fi
  if [ "$nj" -lt 1 ]; then
    die "--nj must be 1 or more, not $nj"
  fi
  if [[ ! $gpus =~ ^[0-9]*$ ]]; then
    die "--gpus takes a number, not '$gpus'"
  fi
  check_job_options
  if [[ ! $seed =~ ^[0-9]*$ ]]; then
    die "--seed takes a number, not '$seed'"
  fi
  if [[ ! $epochs =~ ^([1-9][0-9]*)?$ ]]; then
    die "--epochs takes a number, 1 or more, not '$epochs'"
  fi
  if [ -n "$epochs" ] && [[ " $set" == *" train.num_epochs="* ]]; then
    die "--epochs and --set train.num_epochs say one thing twice: leave one out"
  fi
  check_round_epochs
  if [[ ! $score_norm =~ ^(asnorm|snorm|znorm|tnorm|none)$ ]]; then
    die "--score-norm takes asnorm, snorm, znorm, tnorm or none, not '$score_norm'"
  fi
  if [[ ! $cohort =~ ^(speaker|utterance)$ ]]; then
    die "--cohort takes speaker or utterance, not '$cohort'"
  fi
  if [[ ! $enroll_mean =~ ^(normalised|plain)$ ]]; then
    die "--enroll-mean takes normalised or plain, not '$enroll_mean'"
  fi
  check_scoring_options
}

check_files() { # stop unless the files $2, separated by commas, that option $1 names are there
  local paths path
  IFS=, read -ra paths <<<"$2"
  for path in "${paths[@]}"; do
    if [ ! -f "$path" ]; then
      die "$1: no such file: $path$(if [ -f "$recipe/conf/$(basename "$path")" ]; then
        printf '; there is %s/conf/%s' "$recipe" "$(basename "$path")"
      fi)"
    fi
  done
}

name_folders() { # absolute paths, and the experiment's folder
  local name path paths
  for name in recipe config pl_conf exp data eval_data voxceleb1 voxceleb2 cnceleb1 cnceleb2 musan rirs lists expected; do
    printf -v "$name" '%s' "$(absolute "${!name}")"
  done
  for name in overlay lm_overlay; do
    printf -v "$name" '%s' "$(absolute_each "${!name}")"
  done
  if [ "$stop_stage" -eq 8 ] && [ "$refine" = large-margin ]; then
    lm_overlay=${lm_overlay:-$recipe/conf/lmft.yaml}
  elif [ "$stop_stage" -eq 8 ]; then
    pl_conf=${pl_conf:-$recipe/conf/pseudo_labels.yaml}
  fi
  for name in config overlay lm_overlay pl_conf expected; do
    check_files "--${name//_/-}" "${!name}"
  done
  data=${data:-$recipe/data}
  if [ -z "$exp" ]; then
    name=$(basename "${config:-$default_config}" .yaml)
    IFS=, read -ra paths <<<"$overlay"
    for path in "${paths[@]}"; do
      name+=-$(basename "$path" .yaml)
    done
    exp=$recipe/exp/$name${epochs:+-epochs$epochs}${seed:+-seed$seed}
  fi
  tested=$data home=$exp
  check_elsewhere
}

find_gpus() { # the number to use in $num_gpus; only those stay visible
  local text ids=()
  if [ "$cmd" != local ]; then
    num_gpus=${gpus:-0}
    return
  fi
  text=$(python "$WESPK_ROOT/tools/submit/visible_gpus.py")
  if [ -n "$text" ]; then
    mapfile -t ids <<<"$text"
  fi
  num_gpus=${gpus:-${#ids[@]}}
  if [ "$num_gpus" -gt "${#ids[@]}" ]; then
    die "--gpus $num_gpus, but this machine shows ${#ids[@]} (nvidia-smi, CUDA_VISIBLE_DEVICES)"
  fi
  CUDA_VISIBLE_DEVICES=$(IFS=,; printf '%s' "${ids[*]:0:num_gpus}")
  export CUDA_VISIBLE_DEVICES
}

check_options
. "$stages_root/tools/path.sh"
. "$stages_root/tools/cmd.sh"
name_folders
if [ "$status" = true ]; then
  read_conf_as_recorded
  show_status
  exit
fi
find_gpus
check_submission
read_conf
if [ "$dry_run" = true ]; then
  rehearse
fi
if [ -n "$eval_data" ]; then
  evaluate_elsewhere
else
  for ((number = stage; number <= stop_stage && number <= 7; number++)); do
    run_stage "$number"
  done
fi
if [ "$dry_run" = true ]; then
  rehearse_8
  exit
fi
if [ "$stop_stage" -eq 8 ] && [ "$refine" = pseudo-labels ]; then
  pseudo_labels
elif [ "$stop_stage" -eq 8 ]; then
  fine_tuning
fi
end_of_command
if [ "$stop_stage" -ge 7 ]; then
  printf '\n'
  cat "$home/results/RESULTS.md"
  if [ "$stop_stage" -eq 8 ] && [ "$refine" = pseudo-labels ]; then
    printf '\n'
    cat "$home/results/ROUNDS.md"
  fi
fi

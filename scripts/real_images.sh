#!/usr/bin/env bash
# The whole path on real images: 3,000 + 600 person crops of Leeds Sports Pose Extended in COCO's joint order.
#
#   POSESEARCH_DATA=... bash scripts/real_images.sh          the figures of docs/benchmarks.md
#
# POSESEARCH_DATA names the folder that holds lspet/. EPOCHS (default 150) is the length of the supernet's training and of
# each retraining, SEEDS (default "0 1") the seeds of the retrainings, BUDGET_MS (default 2.2) the latency budget.
# A run that was stopped goes on where it stopped.
set -euo pipefail
: "${POSESEARCH_DATA:?set POSESEARCH_DATA to the folder that holds lspet/}"
posesearch="${POSESEARCH:-posesearch}"
epochs="${EPOCHS:-150}"
budget="${BUDGET_MS:-2.2}"
people_epochs="${PEOPLE_EPOCHS:-30}"
real=(--data "$POSESEARCH_DATA/lspet" --annotations lspet_coco17)
recipe=(--recipe small-data --set "epochs=$epochs")

# 1. A start for users without pretrained weights: a supernet that has seen generated people in every position.
$posesearch data synth runs/hard-people --train 3000 --val 200 --difficulty hard --seed 11
$posesearch supernet-train --run people --data runs/hard-people --recipe small-data \
  --set "epochs=$people_epochs" --set search_fraction=0.05
start=runs/people/supernet/supernet.safetensors

# 2. The path itself.
$posesearch supernet-train --run lspet "${real[@]}" "${recipe[@]}" --init "$start"
$posesearch search --run lspet --latency-ms "$budget" --trials 100
$posesearch extract --run lspet
$posesearch extract --run lspet --pick starnet-pose-t   # the hand-designed network, scaled to the space

# 3. Retraining: the picks and the hand-designed network, alike, with every seed.
for seed in ${SEEDS:-0 1}; do
  for model in T S starnet-pose-t; do
    $posesearch train "runs/lspet/models/$model.safetensors" --seed "$seed" --name "$model-seed$seed"
  done
done

# 4. The floor of the data, and the report.
$posesearch evaluate mean-pose "${real[@]}"
$posesearch report --run lspet

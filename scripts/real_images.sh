#!/usr/bin/env bash
# The whole path on real images: 3,000 + 600 person crops of Leeds Sports Pose Extended in COCO's joint order.
#
#   POSESEARCH_DATA=... bash scripts/real_images.sh          the figures of docs/benchmarks.md
#
# POSESEARCH_DATA names the folder that holds lspet/. PEOPLE (12,000) is how many pictures are generated; PEOPLE_EPOCHS,
# SUPERNET_EPOCHS and EPOCHS are the lengths of the three trainings (18, 40 and 30: some 2.5 hours on one core); SEEDS
# (default "0 1") are the seeds of the retrainings, BUDGET_MS the latency budget (default: what StarNet-Pose-T scaled to the
# space takes), SPACE the search space ("demo", 128x96; "starnet", 256x192, wants a GPU, where several hundred epochs are
# minutes).
# A run that was stopped goes on where it stopped. bf16: 1.4 times the steps a second on a CPU that has AVX-512 bf16.
set -euo pipefail
: "${POSESEARCH_DATA:?set POSESEARCH_DATA to the folder that holds lspet/}"
posesearch="${POSESEARCH:-posesearch}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
real=(--data "$POSESEARCH_DATA/lspet" --annotations lspet_coco17)
recipe=(--recipe small-data --set precision=bf16)
space="${SPACE:-demo}"

# 1. A start for users without pretrained weights: a supernet that has seen generated people in every position.
$posesearch data synth runs/hard-people --train "${PEOPLE:-12000}" --val 200 --difficulty hard --seed 11
$posesearch supernet-train --run people --space "$space" --data runs/hard-people "${recipe[@]}" --set "epochs=${PEOPLE_EPOCHS:-18}" \
  --set search_fraction=0.02 --set optimizer.lr=0.002

# 2. The path itself. The most accurate network found (S) may take as long as the hand-designed one.
$posesearch supernet-train --run lspet --space "$space" "${real[@]}" "${recipe[@]}" --set "epochs=${SUPERNET_EPOCHS:-40}" \
  --init runs/people/supernet/supernet.safetensors
case "$space" in   # StarNet-Pose-T, or its nearest member
  demo) hand_designed=w16-32-64_d2-2-4_k7-7-7_r4-4-4_a000 ;;
  *) hand_designed=starnet-pose-t ;;
esac
$posesearch extract --run lspet --arch "$hand_designed" --name starnet-pose-t --json > runs/lspet-t.json
budget="${BUDGET_MS:-$(python3 -c 'import json; print(json.load(open("runs/lspet-t.json"))["models"][0]["latency"]["p50_ms"])')}"
$posesearch search --run lspet --latency-ms "$budget" --trials 100
$posesearch extract --run lspet

# 3. Retraining: the picks and the hand-designed network, alike, with every seed.
for seed in ${SEEDS:-0 1}; do
  for model in S starnet-pose-t T; do
    $posesearch train "runs/lspet/models/$model.safetensors" --seed "$seed" --name "$model-seed$seed" \
      --set "epochs=${EPOCHS:-30}"
  done
done

# 4. The floor of the data, and the report.
$posesearch evaluate mean-pose "${real[@]}"
for file in runs/lspet/models/*-trained.safetensors; do $posesearch evaluate "$file" --flip; done
$posesearch report --run lspet

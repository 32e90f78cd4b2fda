#!/usr/bin/env bash
# How well a supernet ranks, on generated people, from nothing: data, supernet, networks trained alone, comparison, report.
#
#   bash scripts/rank_people.sh          about 45 minutes on one core
#
# One epoch of training alone is timed first, and the epochs are set so that everything takes MINUTES (45). NETS (24) networks
# are trained alone, SECOND_SEEDS (8) of them twice; PICTURES (2,600) are drawn to train on, a fifth of them kept out to rank
# on; the supernet is trained SUPERNET_TIMES (2) as many epochs as a network alone. WARM=1 first trains a supernet on other
# people, from which the supernet and every network alone begin: short trainings then tell more of what a network can learn
# and less of how fast it learns. EPOCHS overrides the timing; SPACE (demo), RECIPE (demo), DIFFICULTY (default), SEED (0), SET
# (further --set entries for all trainings, e.g. "precision=bf16") and DEVICE (auto) choose the rest. Larger, on a GPU: NETS=48
# SECOND_SEEDS=16 PICTURES=12000 EPOCHS=80 SPACE=starnet. It goes on where it was stopped; NAME (rank-people) is the folder's
# name below runs/.
set -euo pipefail
posesearch="${POSESEARCH:-posesearch}"
python="${PYTHON:-python3}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
name="${NAME:-rank-people}"
nets="${NETS:-24}" second="${SECOND_SEEDS:-8}" times="${SUPERNET_TIMES:-2}" seed="${SEED:-0}" warm="${WARM:-0}"
pictures=(--train "${PICTURES:-2600}" --val 200 --difficulty "${DIFFICULTY:-default}")
common=(--device "${DEVICE:-auto}" --seed "$seed")
recipe=(--space "${SPACE:-demo}" --recipe "${RECIPE:-demo}" --set search_fraction=0.2)
for entry in ${SET:-}; do recipe+=(--set "$entry"); done
start=(--start scratch)
init=()

# 1. People, enough to rank on: 660 in the search split with the defaults.
$posesearch data synth "runs/$name-data" "${pictures[@]}" --seed "$seed"

# 2. How many epochs fit. Kept, so that a second call goes on with the same number.
if [ ! -s "runs/$name.epochs" ]; then
  epochs="${EPOCHS:-}"
  if [ -z "$epochs" ]; then
    $posesearch supernet-train --run "$name-pace" --data "runs/$name-data" "${recipe[@]}" --set epochs=1 "${common[@]}"
    $posesearch rank --run "$name-pace" --nets 4 --second-seeds 0 --epochs 1 "${common[@]}" > /dev/null
    epochs="$("$python" - "runs/$name-pace" "${MINUTES:-45}" "$((nets + second))" "$((times * (1 + warm)))" <<'PYTHON'
import json, sys
folder, minutes, trainings, times = sys.argv[1], *map(float, sys.argv[2:])
rows = [json.loads(line) for line in open(f"{folder}/rank/standalone.jsonl")]
alone = sum(row["seconds"] for row in rows) / len(rows)
logged = [json.loads(line) for line in open(f"{folder}/supernet/metrics.jsonl")]
shared = next(row["elapsed_s"] for row in logged if "elapsed_s" in row)
# A tenth is left for drawing, decoding and evaluating.
epochs = int(0.9 * 60 * minutes / (trainings * alone + times * shared))
print(f"one epoch: alone {alone:.1f} s, supernet {shared:.1f} s; {epochs} epochs fit {minutes:g} minutes", file=sys.stderr)
print(max(epochs, 1))
PYTHON
)"
  fi
  echo "$epochs" > "runs/$name.epochs"
fi
epochs="$(cat "runs/$name.epochs")"
length=(--set "epochs=$((epochs * times))")

# 3. With WARM: weights that have seen other people, the same for all.
if [ "$warm" = 1 ]; then
  $posesearch data synth "runs/$name-warm-data" "${pictures[@]}" --seed "$((seed + 1000))"
  $posesearch supernet-train --run "$name-warm" --data "runs/$name-warm-data" "${recipe[@]}" "${length[@]}" "${common[@]}"
  init=(--init "runs/$name-warm/supernet/supernet.safetensors")
  start=(--start "runs/$name-warm/supernet/supernet.safetensors")
fi

# 4. The supernet, and the networks alone on the same people by the same recipe.
$posesearch supernet-train --run "$name" --data "runs/$name-data" "${recipe[@]}" "${length[@]}" "${init[@]}" "${common[@]}"
$posesearch rank --run "$name" --nets "$nets" --second-seeds "$second" --epochs "$epochs" "${start[@]}" "${common[@]}"
$posesearch report --run "$name"

#!/usr/bin/env bash
# What raises the ranking quality: the same people and the same networks trained alone, other supernets.
#
#   bash scripts/rank_people.sh          first: the people, the supernet they are compared with, the trainings alone
#   bash scripts/rank_ablation.sh        then: one supernet for each line of VARIANTS, each compared with those trainings
#
# A line of VARIANTS is a name and the entries of the recipe that differ, e.g. "kd0 supernet.distil_start=0
# supernet.distil_end=0". A supernet takes as long as that of rank_people.sh (more with more subnets a step). NAME
# (rank-people), NETS, SECOND_SEEDS, SPACE, RECIPE, SET, SEED, SUPERNET_TIMES, WARM and DEVICE must be those of
# rank_people.sh. It goes on where it was stopped.
set -euo pipefail
posesearch="${POSESEARCH:-posesearch}"
python="${PYTHON:-python3}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
name="${NAME:-rank-people}"
epochs="$(cat "runs/$name.epochs")"
common=(--device "${DEVICE:-auto}" --seed "${SEED:-0}")
init=() start=(--start scratch)
if [ "${WARM:-0}" = 1 ]; then
  init=(--init "runs/$name-warm/supernet/supernet.safetensors")
  start=(--start "runs/$name-warm/supernet/supernet.safetensors")
fi
variants="${VARIANTS:-$(cat <<'LINES'
random2 supernet.random_subnets=2
random0 supernet.random_subnets=0
kd0 supernet.distil_start=0 supernet.distil_end=0
kd-half supernet.distil_start=0.5 supernet.distil_end=0.5
independent supernet.size_correlation=0
occlude-all supernet.occlusion=all
decay0 supernet.weight_decay=0
LINES
)}"

runs=("$name")
while read -r variant entries; do
  [ -n "$variant" ] || continue
  options=(--space "${SPACE:-demo}" --data "runs/$name-data" --recipe "${RECIPE:-demo}" --set search_fraction=0.2)
  for entry in ${SET:-} $entries; do options+=(--set "$entry"); done
  $posesearch supernet-train --run "$name-$variant" "${options[@]}" --set "epochs=$((epochs * ${SUPERNET_TIMES:-2}))" \
    "${init[@]}" "${common[@]}"
  $posesearch rank --run "$name-$variant" --trained-in "$name" --nets "${NETS:-24}" --second-seeds "${SECOND_SEEDS:-8}" \
    --epochs "$epochs" "${start[@]}" "${common[@]}" > /dev/null
  runs+=("$name-$variant")
done <<< "$variants"

"$python" - "${runs[@]}" <<'PYTHON'
import json, sys

def two(told, key="value"):
    return "   -" if told[key] is None else f"{told[key]:5.2f}"

print(f"{'supernet':28} tau-b  95 %            like size  by loss  uncalibrated  largest  smallest  minutes")
for run in sys.argv[1:]:
    found = json.load(open(f"runs/{run}/rank/result.json"))
    logged = [json.loads(line) for line in open(f"runs/{run}/supernet/metrics.jsonl")]
    minutes = max(row.get("elapsed_s", 0.0) for row in logged) / 60
    of = found["quality"]["agreements"]
    ap, nets = of["supernet_ap"], found["nets"]
    print(
        f"{run:28} {two(ap['tau'])}  {two(ap['tau'], 'low')} to {two(ap['tau'], 'high')}  {two(ap['within_bins'])}      "
        f"{two(of['supernet_loss']['tau'])}    {two(of['uncalibrated_ap']['tau'])}         {nets[-1]['supernet_ap']:.3f}    "
        f"{nets[0]['supernet_ap']:.3f}     {minutes:.1f}"
    )
PYTHON

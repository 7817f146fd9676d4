#!/usr/bin/env bash
# Build an image of compose.yaml where no Docker is, and run what is in it as the compose file does: as user 10001, on a
# read-only root. In the place of the official Python image stands Debian bookworm with its own Python 3.11.
#
#   deploy/check.sh gateway      as root, with buildah and debootstrap (Debian: apt-get install buildah debootstrap)
#   deploy/check.sh pocket
#
# WORK is a folder to keep things in (5 GB); BUILD_FLAGS are options for buildah, a pip.conf for a mirror, say.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${1:?gateway or pocket}
work=${WORK:-$(mktemp -d)}
python=localhost/python:$(sed -n 's/^ARG PYTHON=//p' "deploy/$image.Dockerfile")
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
run() { buildah --root "$work/images" --runroot "$work/run" "$@"; }

base() { # the stand-in for the Python image, made once
  if [[ ! -d $work/root ]]; then # under another name until it is whole
    rm -rf "$work/root.begun"
    debootstrap --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates bookworm "$work/root.begun"
    mv "$work/root.begun" "$work/root"
  fi
  run inspect --type image "$python" >/dev/null 2>&1 && return
  local container
  container=$(run from scratch)
  run copy -q "$container" "$work/root" /
  run config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  run commit -q --rm "$container" "$python"
}

inside() { # a command in the image's files: no writing but to /tmp and the state folder, nobody's rights
  local files=$1
  shift
  unshare --mount --pid --fork bash -euc '
    files=$1; shift
    mount --bind "$files" "$files"
    mount -o remount,bind,ro "$files"
    mount -t tmpfs -o mode=1777 tmpfs "$files/tmp"
    mount -t proc proc "$files/proc"
    mount --bind /dev "$files/dev"
    mount -t tmpfs -o mode=1777,size=1g tmpfs "$files/dev/shm"
    mount --bind /sys "$files/sys"
    [[ ! -d $files/var/lib/consilium ]] || mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$files/var/lib/consilium"
    [[ ! -d $files/etc/consilium ]] || mount --bind deploy/consilium "$files/etc/consilium"
    exec chroot --userspec=10001:10001 "$files" env -i "$@"' bash "$files" "$@"
}

ended() { # stop what runs inside: with the first process of its namespace, the child of unshare, all of them end
  pkill -KILL -P "$(pgrep -P "$(jobs -p %1)")" || true
  wait || true
  run rm "$container" >/dev/null # and its files are no longer mounted
}

healthy() { # the image's own health check, asked until it passes or there is nobody left to ask
  local files=$1 path=$2 url=$3
  for _ in $(seq 120); do
    if inside "$files" PATH="$path" python -c "import urllib.request as u; u.urlopen('$url', timeout=4)" 2>/dev/null; then return; fi
    [[ -n $(jobs -rp) ]] || break
    sleep 1
  done
  return 1
}

base
sed 's#^FROM python:#FROM localhost/python:#' "deploy/$image.Dockerfile" >"$work/$image.Dockerfile"
run bud --layers ${BUILD_FLAGS:-} -t "consilium-$image" -f "$work/$image.Dockerfile" .
container=$(run from "consilium-$image")
files=$(run mount "$container")
echo "$image: $(du -sm "$files" | cut -f1) MB, $(du -sm "$work/root" | cut -f1) of them the base"
case $image in
gateway)
  mkdir -p "$files/etc/consilium" # Docker makes the places it mounts on
  path=/opt/consilium/bin:/usr/bin:/bin
  inside "$files" PATH=$path HOME=/var/lib/consilium CONSILIUM_STATE_DIR=/var/lib/consilium CONSILIUM_HOST=127.0.0.1 \
    CONSILIUM_PORT=18400 CONSILIUM_API_KEYS=sk-check CONSILIUM_CONFIG=/etc/consilium/cpu.yaml \
    PYTHONDONTWRITEBYTECODE=1 consilium serve &
  trap ended EXIT
  healthy "$files" $path http://127.0.0.1:18400/health/liveness
  ask='{"messages": [{"role": "user", "content": "What is the capital of Kenya?"}]}'
  curl -sf -H "authorization: Bearer sk-check" http://127.0.0.1:18400/v1/models | grep -q '"geography"'
  curl -s -H "authorization: Bearer sk-check" http://127.0.0.1:18400/v1/route -d "$ask" | cut -c1-300
  ;;
pocket)
  path=/opt/vllm/bin:/usr/bin:/bin
  inside "$files" PATH=$path HOME=/tmp VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind \
    VLLM_ENABLE_V1_MULTIPROCESSING=0 TORCH_COMPILE_DISABLE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1 python -m vllm.entrypoints.openai.api_server --model=/opt/pocket/base --served-model-name=base --host=127.0.0.1 --port=18000 \
    --enforce-eager --dtype=bfloat16 --max-model-len=1024 --max-num-seqs=16 --enable-lora --max-lora-rank=64 --max-loras=2 \
    --max-cpu-loras=2 --lora-modules math=/opt/pocket/math &
  trap ended EXIT
  healthy "$files" $path http://127.0.0.1:18000/health
  ask='{"model": "math", "temperature": 0, "messages": [{"role": "user", "content": "What is 417 plus 268?"}]}'
  curl -sf http://127.0.0.1:18000/v1/chat/completions -H 'content-type: application/json' -d "$ask" | grep -o '"content":"[^"]*"'
  ;;
esac
echo
echo "$image: built, runs read-only as user 10001"

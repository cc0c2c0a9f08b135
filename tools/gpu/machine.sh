# What run.sh has to know of the machine: its GPU and driver, and where CUDA's libraries are. Sourced by run.sh.

# info KEY: what the bundle says of itself.
info() {
  sed -n "s/^$1 //p" "$bundle/info"
}

is_double() {
  [[ $(info kind) == double ]]
}

# Name, driver and memory of the first GPU; nothing where there is none.
gpu() {
  nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1
}

# The oldest driver that runs programs of this CUDA (NVIDIA's table of minor-version compatibility).
oldest_driver() {
  case $1 in
    12) echo 525 ;;
    13) echo 580 ;;
    *) echo 0 ;;
  esac
}

# The CUDA version that the programs were built for, by the runtime that they ask for.
cuda_major() {
  sed -n 's/^libcudart\.so\.//p' "$bundle/cuda_libraries"
}

describe_machine() {
  if is_double; then
    echo "gpu: none (the test double)"
  else
    echo "gpu: $(gpu name)"
    echo "driver: $(gpu driver_version)"
    echo "cuda: $(cuda_major)"
  fi
  echo "commit: $(info commit)"
  echo "packed: $(info packed)"
}

# Why no GPU can be used here; nothing where one can.
why_no_gpu() {
  local driver need
  driver=$(gpu driver_version)
  need=$(oldest_driver "$(cuda_major)")
  if is_double; then
    echo "no GPU (the test double)"
  elif ! command -v nvidia-smi >/dev/null; then
    echo "no GPU (no nvidia-smi, which comes with NVIDIA's driver)"
  elif [[ ! $driver =~ ^[0-9]+ ]]; then
    echo "no GPU (nvidia-smi: $(nvidia-smi 2>&1 | head -n 1))"
  elif [[ ${driver%%.*} -lt $need ]]; then
    echo "the driver is $driver; CUDA $(cuda_major) needs $need or newer"
  fi
}

# Folders where a toolkit's or Python's CUDA libraries may be, the likeliest first.
library_folders() {
  local home
  for home in ${CUDA_HOME:-} /usr/local/cuda; do
    printf '%s\n' "$home/lib64" "$home/lib"
  done
  if command -v python3 >/dev/null; then
    python3 - <<'END'
import glob, site, sys
for folder in dict.fromkeys(site.getsitepackages() + [site.getusersitepackages()] + sys.path):
    print("\n".join(sorted(glob.glob(folder + "/nvidia/*/lib"))))
END
  fi
  ldconfig -p 2>/dev/null | sed -n 's/.*libcud[an].* => \(.*\)\/[^/]*$/\1/p' | sort -u
}

unpack_programs() {
  [[ ! -d $bundle/programs ]] || return 0
  if command -v xz >/dev/null; then
    tar -C "$bundle" -xJf "$bundle/programs.tar.xz"
  else
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$bundle/programs.tar.xz" "$bundle"
  fi || { echo "programs.tar.xz cannot be unpacked: it takes xz, or python3"; return 1; }
}

# Puts the libraries into LD_LIBRARY_PATH. Says what is missing, and is false, where not all are found.
find_libraries() {
  local name folder found missing=() path=$bundle/programs/lib have need
  local -a folders
  need=$(info glibc)
  have=$(ldd --version | sed -n '1s/.* //p')
  if [[ $(printf '%s\n' "$need" "$have" | sort -V | tail -n 1) != "$have" ]]; then
    echo "the C library is glibc $have; the programs need $need or newer"
    return 1
  fi
  mapfile -t folders < <(library_folders)
  while read -r name; do
    found=
    for folder in "${folders[@]}"; do
      [[ -n $folder && -e $folder/$name ]] && found=$folder && break
    done
    if [[ -z $found ]]; then
      missing+=("$name")
    elif [[ :$path: != *":$found:"* ]]; then
      path+=:$found
    fi
  done <"$bundle/cuda_libraries"
  if [[ ${#missing[@]} != 0 ]]; then
    echo "not found: ${missing[*]} (in CUDA_HOME, /usr/local/cuda, Python's nvidia packages, ldconfig)"
    return 1
  fi
  library_path=$path
}

# Shared by the scripts: say what happens, install what is missing, show that long steps move.
# Source it; do not run it.

# say WORD SENTENCE: the word in bold where a person looks on (https://no-color.org).
say() {
  local bold='' plain=''
  [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ] || { bold=$'\033[1m'; plain=$'\033[0m'; }
  printf '%s%s%s %s\n' "$bold" "$1" "$plain" "${*:2}"
}
fail() { printf '\nerror: %s\n' "$1" >&2; shift; printf '  %s\n' "$@" >&2; exit 1; }

# need_rust: cargo of the version in Cargo.toml, or a sentence saying how to get it.
need_rust() {
  command -v cargo >/dev/null 2>&1 || [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  command -v cargo >/dev/null 2>&1 || fail "Rust is not installed: there is no 'cargo' on the PATH." \
    "Install it with rustup (https://rustup.rs), open a new shell, and run this again."
}

# need_packages PROGRAM:PACKAGE …: installs Debian packages whose program (or file, if it starts with /) is missing.
need_packages() {
  local missing=() pair
  for pair in "$@"; do
    local probe=${pair%%:*}
    if [[ $probe == /* ]]; then compgen -G "$probe" >/dev/null || missing+=("${pair#*:}")
    else command -v "$probe" >/dev/null 2>&1 || missing+=("${pair#*:}"); fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "these packages are missing: ${missing[*]}" \
      "Install them as root: apt-get install -y ${missing[*]}"
    as_root=(sudo)
  fi
  command -v apt-get >/dev/null 2>&1 || fail "these packages are missing: ${missing[*]}" \
    "Install them with this system's package manager; only Debian's apt-get is known to this script."
  say "install" "${missing[*]} (Debian packages)"
  with_progress "apt-get" "${as_root[@]}" apt-get update -qq
  with_progress "apt-get" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
}

# last_line FILE: the last one with words in it, without colours.
last_line() { tail -n 5 "$1" | sed 's/\x1b\[[0-9;]*m//g; s/\r//g' | grep '[^[:space:]]' | tail -n 1 || true; }

# with_progress NAME COMMAND …: runs it; its output goes to the terminal when there is one, else to a log with a line
# of life every ten seconds. On failure the end of the log is shown.
with_progress() {
  local name=$1; shift
  if [ -t 1 ]; then "$@"; return; fi
  local log; log=$(mktemp)
  local begin=$SECONDS
  "$@" >"$log" 2>&1 & local pid=$!
  local shown=$SECONDS
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if (( SECONDS - shown >= 10 )); then
      shown=$SECONDS
      printf '        %s: %ss, %s\n' "$name" $((SECONDS - begin)) "$(last_line "$log" | cut -c1-90)"
    fi
  done
  wait "$pid" || { tail -n 40 "$log" >&2; rm -f "$log"; fail "$name failed: $*" "Its last lines stand above."; }
  rm -f "$log"
}

#!/bin/sh
# Installs the Debian packages that the tests need, or says how.
set -eu

list=$(dirname "$0")/apt-packages.txt
wanted=$(sed -e 's/#.*//' "$list")
# Many machines have Node.js from elsewhere, which Debian's packages would replace or not go together with.
for program in node:nodejs npm:npm; do
    command -v "${program%%:*}" >/dev/null || wanted="$wanted ${program#*:}"
done

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian: these packages' programs must be on the PATH for the tests:" $wanted
    exit 0
fi

missing=
for package in $wanted; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "the tests need Debian packages; run as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "installing for the tests:$missing"
# No package asks anything (postfix would like to know the kind of site). RUNLEVEL=1: the tests start servers
# of their own; the packages' are not to come up as services now.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends $missing >/dev/null

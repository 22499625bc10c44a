#!/bin/sh
# Installs the Debian packages that the tests need, or says how.
set -eu

list=$(dirname "$0")/apt-packages.txt
wanted=$(sed -e 's/#.*//' "$list")
# Many machines have Node.js from elsewhere, which Debian's packages would replace or not go together with.
for program in node:nodejs npm:npm; do
    command -v "${program%%:*}" >/dev/null || wanted="$wanted ${program#*:}"
done
# Exim and Postfix replace each other as the machine's mail server, so Exim is unpacked and not installed.
exim=/usr/local/lib/mailer-tests/exim4

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian: these packages' programs must be on the PATH for the tests:" $wanted
    echo "and Exim as $exim/usr/sbin/exim4"
    exit 0
fi

missing=
for package in $wanted; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -x "$exim/usr/sbin/exim4" ]; then
    [ -n "$missing" ] || exit 0
    needs_exim=
else
    needs_exim=yes
fi

if [ "$(id -u)" -ne 0 ]; then
    if [ -n "$missing" ]; then
        echo "the tests need Debian packages; run as root: apt-get install --no-install-recommends$missing" >&2
    fi
    [ -z "$needs_exim" ] || echo "the tests need Exim, unpacked beside Postfix; run as root: sh $0" >&2
    exit 1
fi

echo "installing for the tests:$missing${needs_exim:+ and Exim in $exim}"
# No package asks anything (postfix would like to know the kind of site). RUNLEVEL=1: the tests start servers
# of their own; the packages' are not to come up as services now.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update --quiet=2
if [ -n "$missing" ]; then
    apt-get install --yes --quiet=2 --no-install-recommends $missing >/dev/null
fi
[ -n "$needs_exim" ] || exit 0

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
chown _apt "$unpacked"  # apt-get downloads with this account's rights
(cd "$unpacked" && apt-get download --quiet=2 exim4-daemon-light)
libraries=$(dpkg-deb --field "$unpacked"/exim4-daemon-light_*.deb Depends |
    tr ',' '\n' | sed -n -e 's/^ *\(lib[^ (|]*\).*/\1/p')
apt-get install --yes --quiet=2 --no-install-recommends $libraries >/dev/null
dpkg-deb --extract "$unpacked"/exim4-daemon-light_*.deb "$unpacked/exim4"
chmod u-s "$unpacked/exim4/usr/sbin/exim4"  # nobody updates it: it must give no rights to whoever runs it
# The program looks for the account that the package would have made.
getent passwd Debian-exim >/dev/null ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin Debian-exim
mkdir -p "$(dirname "$exim")"
rm -rf "$exim"
mv "$unpacked/exim4" "$exim"
chmod 755 "$exim"

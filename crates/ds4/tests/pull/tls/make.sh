#!/bin/sh
# Makes the certificates of the tests: an authority that nobody trusts, and a server's for hub.test
# and 127.0.0.1. Their keys are in the open and good for nothing else.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -keyout ca.key -out ca.pem \
    -subj '/CN=ds4 tests' -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout hub.key -out hub.csr -subj '/CN=hub.test'
printf 'subjectAltName=DNS:hub.test,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' > hub.ext
openssl x509 -req -in hub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -extfile hub.ext -out hub.pem
rm -f ca.key ca.srl hub.csr hub.ext

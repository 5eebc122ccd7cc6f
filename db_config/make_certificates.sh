#!/bin/sh
# Create a certificate authority, and a certificate of a MongoDB server that it signs.
set -eu

if [ $# -lt 2 ]; then
    echo "Usage: make_certificates.sh FOLDER HOST..." >&2
    echo "Write FOLDER/ca.pem (for all clients), ca.key (keep it off the server) and server.pem (only for mongod)." >&2
    exit 2
fi
folder=$1
shift
umask 077
mkdir -p "$folder"
cd "$folder"
[ ! -e ca.key ] || { echo "make_certificates.sh: $folder/ca.key already exists; choose another folder" >&2; exit 1; }

# localhost is included because the first user is created on the server itself.
names=DNS:localhost,IP:127.0.0.1
for host in "$@"; do
    names=$names,DNS:$host
done
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' >ca.ext
printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\n' >server.ext
printf 'authorityKeyIdentifier=keyid\nsubjectAltName=%s\n' "$names" >>server.ext

openssl req -new -newkey rsa:3072 -sha256 -nodes -subj "/CN=alchemflows CA" -keyout ca.key -out ca.csr 2>/dev/null
openssl x509 -req -in ca.csr -signkey ca.key -sha256 -days 3650 -extfile ca.ext -out ca.pem 2>/dev/null
openssl req -new -newkey rsa:3072 -sha256 -nodes -subj "/CN=$1" -keyout server.key -out server.csr 2>/dev/null
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 825 -extfile server.ext \
    -out server.crt 2>/dev/null
cat server.key server.crt >server.pem
rm ./*.csr ./*.ext ./*.crt ./*.srl server.key
chmod 644 ca.pem

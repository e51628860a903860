#!/usr/bin/env bash
# twine 7.0.0 with requests 2.34.2 ignores `--cert FILE` where REQUESTS_CA_BUNDLE is set, as company images and CI runners often have it.
#
# `--cert` says which authority to trust for the repository. twine sets it on the session of requests, and a value of the session loses to the
# variable. So an upload to an index with a certificate of its own fails with a certificate error although the option names the right authority,
# and the message does not name the file that was used. Without the variable the same line reaches the index.
set -euo pipefail
work=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env && env/bin/python -m pip install -q "twine==7.0.0" "requests==2.34.2" "trustme==1.2.1" >/dev/null
cat > make.py <<'PY'
import pathlib, zipfile
with zipfile.ZipFile("demo-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("demo-1.0.dist-info/RECORD", "")
PY
cat > index.py <<'PY'
import http.server, ssl, sys, trustme
authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
trustme.CA().cert_pem.write_to_path("company.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(context)
class Index(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
PY
env/bin/python make.py
env/bin/python index.py > port & until [ -s port ]; do sleep 0.1; done
env/bin/twine --version
upload() { if env "$@" env/bin/twine upload --non-interactive --cert authority.pem -u x -p y --repository-url "https://127.0.0.1:$(cat port)/" demo-1.0-py3-none-any.whl >out.txt 2>&1; then echo uploaded; else tr -d '\n' < out.txt | grep -o "CERTIFICATE_VERIFY_FAILED" | head -1; fi; }
seen="--cert: $(upload -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE); --cert and REQUESTS_CA_BUNDLE: $(upload -u CURL_CA_BUNDLE REQUESTS_CA_BUNDLE=company.pem)"
echo "$seen"
[ "$seen" = "--cert: uploaded; --cert and REQUESTS_CA_BUNDLE: CERTIFICATE_VERIFY_FAILED" ]

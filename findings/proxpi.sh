#!/bin/sh
# proxpi 1.3.1 answers 500 for the page of a project that its upstream lists, if the URL has the project's own spelling and the upstream is a tree
# of files, which knows the normalised spelling only (a mirror of bandersnatch, for instance). After the upstream's 404 it reads the list of
# projects, decides by the normalised name that the project is there, and then looks for the name as it was given (KeyError). Projects that
# nobody has are 404 as they should be. pip and uv normalise names before they ask; links, browsers and older tools do not.
#
# Seen: the upstream lists Demo_Project
#   GET /index/demo-project/     200
#   GET /index/Demo_Project/     500
#   GET /index/Other_Project/    404
# Exit: 0 while that is so, 1 when it changed.
set -eu
place=$(mktemp -d)
upstream= server=
trap 'kill $upstream $server 2> /dev/null || true; rm -rf "$place"' EXIT
python3 -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet proxpi==1.3.1
mkdir -p "$place/site/simple/demo-project"
cd "$place/site"
echo '<!DOCTYPE html><html><body><a href="/simple/demo-project/">Demo_Project</a></body></html>' > simple/index.html
echo '<!DOCTYPE html><html><body><a href="/demo_project-1.0.tar.gz">demo_project-1.0.tar.gz</a></body></html>' > simple/demo-project/index.html
python3 -m http.server --bind 127.0.0.1 8371 > /dev/null 2>&1 & upstream=$!
export PROXPI_INDEX_URL=http://127.0.0.1:8371/simple/ FLASK_APP=proxpi.server
"$place/environment/bin/flask" run --host 127.0.0.1 --port 8372 > /dev/null 2>&1 & server=$!
until curl --silent --output /dev/null http://127.0.0.1:8372/health; do sleep 1; done
for project in demo-project Demo_Project Other_Project; do
    curl --silent --output /dev/null --write-out "/index/$project/ %{http_code}\n" "http://127.0.0.1:8372/index/$project/"
done > "$place/seen"
cat "$place/seen"
printf '/index/demo-project/ 200\n/index/Demo_Project/ 500\n/index/Other_Project/ 404\n' | cmp - "$place/seen"

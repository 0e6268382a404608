#!/usr/bin/env python3
"""Writes signed calls for wrk.lua: `server_calls.py ADDRESS KEY SECRET USERS FILE`.

Pairs each user with an authenticator, and writes to FILE one `initiate` with each code of the next minutes, the oldest
codes first. A code is accepted once. Writes to FILE.status the same number of calls for the status of pending requests.
"""

import base64
import hashlib
import hmac
import http.client
import json
import sys
import threading
import time
from urllib.parse import quote

ADDRESS, KEY, SECRET, USERS, FILE = sys.argv[1:]
USERS = int(USERS)
# The server accepts two steps before and after the current one. The calls may be sent one step later.
STEPS = (-1, 0, 1, 2)
THREADS = 32
PENDING = 100


def encode(text):
    return quote(text, safe="-._~")


def call(method, path, parameters, number):
    """The head and the body of a signed call (RFC 5849)."""
    oauth = {
        "oauth_consumer_key": KEY,
        "oauth_nonce": f"{time.time_ns()}-{number}",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(int(time.time())),
        "oauth_version": "1.0",
    }
    pairs = sorted((encode(name), encode(value)) for name, value in {**oauth, **parameters}.items())
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    base = "&".join([method, encode(f"http://{ADDRESS}{path}"), encode(joined)])
    digest = hmac.new(f"{encode(SECRET)}&".encode(), base.encode(), hashlib.sha1).digest()
    oauth["oauth_signature"] = base64.b64encode(digest).decode()
    header = "OAuth " + ", ".join(f'{name}="{encode(value)}"' for name, value in oauth.items())
    body = "&".join(f"{encode(name)}={encode(value)}" for name, value in parameters.items())
    headers = {"authorization": header}
    if method == "POST":
        headers |= {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
    return headers, body


def write(file, method, path, parameters, number):
    headers, body = call(method, path, parameters, number)
    lines = [f"{method} {path} HTTP/1.1", f"host: {ADDRESS}"] + [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines) + "\r\n\r\n" + body
    file.write(f"{len(text)}\n{text}\n")


def secret(user):
    return f"secret-of-user-{user:06}".encode()


def code(user, step):
    digest = hmac.new(secret(user), step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at:at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def send(connection, path, parameters, number):
    headers, body = call("POST", path, parameters, number)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        sys.exit(f"{path}: {response.status} {content}")
    return json.loads(content)


def pair(first, pending):
    connection = http.client.HTTPConnection(ADDRESS)
    for user in range(first, USERS, THREADS):
        parameters = {"user_name": f"user-{user:06}", "secret": base64.b32encode(secret(user)).decode()}
        send(connection, "/v1/pairings/upgrade", parameters, user)
        if user < PENDING:
            parameters = {"user_name": f"user-{user:06}", "terminal_name": "a browser"}
            pending.append(send(connection, "/v1/authentication_requests/initiate", parameters, user)["id"])


pending = []
threads = [threading.Thread(target=pair, args=(first, pending)) for first in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

with open(FILE, "w") as file:
    now = int(time.time()) // 30
    for number, (step, user) in enumerate((step, user) for step in STEPS for user in range(USERS)):
        parameters = {"user_name": f"user-{user:06}", "otp": code(user, now + step), "terminal_name": "a browser"}
        write(file, "POST", "/v1/authentication_requests/initiate", parameters, number)
with open(FILE + ".status", "w") as file:
    for number in range(len(STEPS) * USERS):
        write(file, "GET", f"/v1/authentication_requests/{pending[number % PENDING]}", {}, number)

"""All calls of a site and a phone, with an independent OAuth client (requests-oauthlib).

Usage: client.py BASE_URL KEY SECRET, where BASE_URL ends in /v1.
"""

import sys
import time

import pyotp
import requests
from requests_oauthlib import OAuth1Session

base, key, secret = sys.argv[1:4]
root = base.removesuffix("/v1")
site = OAuth1Session(key, client_secret=secret)
phone = requests.Session()


def call(session, method, url, status=200, **parameters):
    answer = session.request(method, url, timeout=10, **parameters)
    assert answer.status_code == status, (method, url, answer.status_code, answer.text)
    return answer.json()


def post(path, status=200, **data):
    return call(site, "POST", f"{base}/{path}", status, data=data)


def get(path, **query):
    return call(site, "GET", f"{base}/{path}", params=query)


def tap(path, status=200, **body):
    return call(phone, "POST", f"{root}/phone/v1/{path}", status, json=body)


def outcome(request):
    return request["pending"], request["granted"]


# A name with characters that encoders get wrong.
user = "zoë + co ~ *'%20&=/?"

phone.headers["Authorization"] = "Bearer " + tap("devices", name="a phone")["token"]
pairing = post("pairings/create", user_name=user, pairing_phrase=tap("phrases")["phrase"])
assert pairing["pending"] and not pairing["enabled"] and pairing["user"]["name"] == user
codes = pyotp.TOTP(tap(f"pairings/{pairing['id']}/allow")["secret"])
assert get(f"pairings/{pairing['id']}")["enabled"]

# On the phone: requested, polled, allowed, polled.
request = post("authentication_requests/initiate", user_name=user, terminal_name="lap top", action_name="log in")
assert outcome(request) == (True, False)
pending = call(phone, "GET", f"{root}/phone/v1/requests")
assert [(r["user"], r["terminal"], r["action"]) for r in pending] == [(user, "lap top", "log in")]
assert outcome(get(f"authentication_requests/{request['id']}")) == (True, False)
tap(f"requests/{request['id']}/allow")
assert outcome(get(f"authentication_requests/{request['id']}")) == (False, True)

# With a one-time password: wrong, right, replayed; for a pending request; and with a wrong signature.
assert outcome(post("authentication_requests/initiate", user_name=user, otp="000000")) == (False, False)
code = codes.now()
assert outcome(post("authentication_requests/initiate", user_name=user, otp=code)) == (False, True)
assert outcome(post("authentication_requests/initiate", user_name=user, otp=code)) == (False, False)
request = post("authentication_requests/initiate", pairing_id=pairing["id"], terminal_name="t")
following = codes.at(int(time.time()) + 30)
assert outcome(post(f"authentication_requests/{request['id']}/otp_auth", otp=following)) == (False, True)
assert call(OAuth1Session(key, client_secret="wrong"), "GET", f"{base}/users", 401)["error_code"] == 401

# Found, disabled, enabled, reset.
(found,) = get("users", name=user)
assert post(f"users/{found['id']}", toopher_authentication_enabled="false")["disable_toopher_auth"]
assert post("authentication_requests/initiate", 409, user_name=user)["error_code"] == 704
post(f"users/{found['id']}", disable_toopher_auth="False")
assert post("users/reset", name=user) == {}
assert post("authentication_requests/initiate", 409, user_name=user)["error_code"] == 707
print("all calls succeeded")

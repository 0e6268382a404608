"""Load for a server that is killed during it, and the check afterwards.

load.py load BASE_URL KEY SECRET NAME: prints a line for everything that the server acknowledged, until it is killed.
load.py check BASE_URL KEY SECRET FILE: checks that all of it is stored, and that no code is accepted again.
"""

import json
import sys
import threading

import pyotp
import requests
from requests_oauthlib import OAuth1Session

mode, base, key, secret, argument = sys.argv[1:6]
root = base.removesuffix("/v1")
lock = threading.Lock()


def acknowledge(**fact):
    with lock:
        print(json.dumps(fact), flush=True)


def worker(number):
    site, phone = OAuth1Session(key, client_secret=secret), requests.Session()

    def post(path, **data):
        return site.post(f"{base}/{path}", data=data, timeout=10).json()

    def tap(path, **body):
        return phone.post(f"{root}/phone/v1/{path}", json=body, timeout=10).json()

    phone.headers["Authorization"] = "Bearer " + tap("devices", name="a phone")["token"]
    turn = 0
    while True:
        turn += 1
        user = f"{argument}-{number}-{turn}"
        pairing = post("pairings/create", user_name=user, pairing_phrase=tap("phrases")["phrase"])["id"]
        shared = tap(f"pairings/{pairing}/allow")["secret"]
        acknowledge(pairing=pairing, user=user)
        request = post("authentication_requests/initiate", user_name=user)["id"]
        tap(f"requests/{request}/allow")
        acknowledge(granted=request)
        code = pyotp.TOTP(shared).now()
        if post("authentication_requests/initiate", user_name=user, otp=code)["granted"]:
            acknowledge(used=code, user=user)


def check():
    site = OAuth1Session(key, client_secret=secret)
    facts = [json.loads(line) for line in open(argument) if line.endswith("}\n")]
    for fact in facts:
        if "pairing" in fact:
            pairing = site.get(f"{base}/pairings/{fact['pairing']}", timeout=10).json()
            assert pairing["enabled"] and pairing["user"]["name"] == fact["user"], (fact, pairing)
        elif "granted" in fact:
            request = site.get(f"{base}/authentication_requests/{fact['granted']}", timeout=10).json()
            assert request["granted"] and not request["pending"], (fact, request)
        else:
            data = {"user_name": fact["user"], "otp": fact["used"]}
            answer = site.post(f"{base}/authentication_requests/initiate", data=data, timeout=10).json()
            assert answer["granted"] is False, (fact, answer)
    print(len(facts), "facts:", "nothing is lost")


if mode == "check":
    check()
else:
    def until_gone(number):
        try:
            worker(number)
        except (requests.RequestException, KeyError, ValueError):
            pass

    threads = [threading.Thread(target=until_gone, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

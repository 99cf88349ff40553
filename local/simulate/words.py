"""What do leads, messages and approvals look like?"""

from __future__ import annotations

import random
import re
from typing import Any

# Accents, quotes and other scripts on purpose: what breaks on them should break here.
FIRST = ("Ava", "Liam", "Zoë", "Noah", "Chloé", "Mia", "Søren", "Priya", "Nguyễn", "李", "Jean-Luc")
LAST = ("Smith", "Tremblay", "O'Brien", "García", "Kowalski", "Singh", "Müller", "王", "Okafor")
PLACES = (
    ("Toronto", "Ontario", "M5V"),
    ("Ottawa", "Ontario", "K1P"),
    ("Montréal", "Québec", "H2Y"),
    ("Vancouver", "British Columbia", "V6B"),
    ("Calgary", "Alberta", "T2P"),
    ("Halifax", "Nova Scotia", "B3J"),
)
STREETS = ("King St W", "Rue Saint-Paul", "Granville St", "Maple Ave", "Chemin du Lac")
TYPES = ("condo", "house", "townhouse", "duplex", "land")
PRICES = ("300k-500k", "500k-750k", "750k-1M", "1M+")
TIMELINES = ("now", "1-3 months", "3-6 months", "looking")
SOURCES = ("website", "referral", "open house", "zillow", "facebook", "walk-in")
CHANNELS = ("email", "sms", "whatsapp", "call", "note")
APPROVALS = ("price_change", "discount", "offer", "contract", "showing")
TEXT = re.findall(
    r"\S+",
    "the client would like to see the garden again before Friday and asks about schools "
    "parking the roof heating costs closing date mortgage pre-approval and whether the price "
    "can move a little “if everything else is right” — please call back after 5 pm",
)


def sentence(rng: random.Random, longest: int = 20) -> str:
    return " ".join(rng.choices(TEXT, k=rng.randint(3, longest))) + "."


def lead(rng: random.Random) -> dict[str, Any]:
    city, province, code = rng.choice(PLACES)
    return {
        "first_name": rng.choice(FIRST),
        "last_name": rng.choice(LAST),
        "phone": f"+1 416 555 {rng.randrange(10_000):04}",
        "property_address": f"{rng.randint(1, 999)} {rng.choice(STREETS)}",
        "city": city,
        "province": province,
        "postal_code": f"{code} {rng.randrange(10)}A{rng.randrange(10)}",
        "property_type": rng.choice(TYPES),
        "price_range": rng.choice(PRICES),
        "timeline": rng.choice(TIMELINES),
        "source": rng.choice(SOURCES),
        "metadata": {"score": rng.randint(0, 100), "budget": rng.randrange(10**6) / 100},
    }


def lead_details(rng: random.Random) -> dict[str, Any]:
    """What is learnt of a lead later: one, two or three columns."""
    details = {
        "timeline": rng.choice(TIMELINES),
        "price_range": rng.choice(PRICES),
        "metadata": {"score": rng.randint(0, 100), "note": sentence(rng)},
    }
    return {name: details[name] for name in rng.sample(list(details), rng.randint(1, 3))}


def event(rng: random.Random) -> dict[str, Any]:
    # Now and then one that PostgreSQL stores out of line: an update that leaves such a value
    # alone does not write it to the WAL again.
    long = rng.random() < 0.02
    return {
        "channel": rng.choice(CHANNELS),
        "direction": rng.choice(("inbound", "outbound")),
        "content": rng.randbytes(6_000).hex() if long else sentence(rng, 60),
        "metadata": {"template": rng.choice((None, "welcome", "follow-up", "viewing"))},
    }


def approval(rng: random.Random) -> dict[str, Any]:
    return {
        "kind": rng.choice(APPROVALS),
        "subject": sentence(rng, 8),
        "payload": {"amount": rng.randrange(10**8) / 100, "urgent": rng.random() < 0.2},
    }


def agent(rng: random.Random) -> dict[str, Any]:
    return {
        "name": f"{rng.choice(FIRST)} {rng.choice(LAST)}",
        "regions": rng.sample([city for city, _, _ in PLACES], 2),
        "languages": rng.sample(["en", "fr", "zh", "pa"], 2),
        "capacity": rng.randint(10, 40),
    }

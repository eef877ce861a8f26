"""Made-up names of every kind the world speaks of.

A name is made of syllables, so there are far more names than a small model can remember, and it
can only repeat one by reading it. Every made-up word belongs to one of two sides, decided by a
checksum of its spelling: words for training and words held out for measuring.
"""

import random
import zlib

ONSETS = (
    "b br c ch cl cr d dr f fl fr g gl gr h j k kl kn l m n p pl pr qu r s sc sh sk sl sm sn sp st "
    "str sw t th tr tw v vl w wr y z"
).split()
VOWELS = "a a a e e e i i o o o u u y ai au ea ee ei ia ie io oa oo ou".split()
CODAS = (
    "b ck ct d ff g gh k l l l ld ll lm m m mp n n n nd ng nn nt p r r r rd rk rn s s sh ss st t "
    "th tt v w x z"
).split()
FIRST_NAMES = (
    "Ada Adam Agnes Alan Albert Alice Amir Amy Anders Andrea Anna Anton Arthur Bela Boris Bruno "
    "Carla Carlos Charles Clara Daniel David Diego Dora Edgar Elena Eliza Emma Erik Eva Fatima "
    "Felix Frank Fred George Greta Hana Hans Helen Henry Hugo Ian Igor Ines Irene Isaac Ivan Jack "
    "Jane James Joan John Jonas Jorge Julia Karl Kate Kofi Lara Lena Leo Liam Lucy Luis Maria Mark "
    "Martin Mary Mei Milan Mira Nadia Nina Noah Nora Olga Omar Oscar Otto Paul Pavel Pedro Peter "
    "Priya Rafael Robert Rosa Ruth Samuel Sara Sean Simon Sofia Stefan Susan Thomas Tomas Ursula "
    "Vera Victor Walter Wei William Yara Yuki Zoe"
).split()
ADJECTIVES = (
    "Blue Bright Broken Burning Cold Copper Crooked Dark Distant Empty Fallen Final First Golden "
    "Green Hidden Last Little Long Lost Old Quiet Red Second Secret Silent Silver White Wild Young"
).split()
NOUNS = (
    "Bell Book Bridge Castle Child City Clock Dance Daughter Day Door Dream Field Fire Forest "
    "Garden Ghost House Island King Lamp Letter Light Map Mirror Moon Night Ocean Orchard Painter "
    "Queen River Road Sailor Shadow Ship Song Star Stone Storm Summer Tower Tree Valley Voice "
    "Wind Winter Wolf"
).split()
TRADES = (
    "Airlines Bank Brewery Electric Energy Foods Group Industries Motors Partners Pharma Software "
    "Steel Systems Textiles"
).split()

CITY_ENDINGS = ("", "", "", "", "a", "o", "ton", "ville", "burg", "ford", "mouth", "grad", "pur")
COUNTRY_ENDINGS = ("", "", "a", "ia", "ia", "land", "stan", "or")
LANGUAGE_ENDINGS = ("", "ish", "ian", "ese", "ic", "i")
CITY_PREFIXES = ("New", "Port", "San", "Saint", "Santa", "Fort", "Old", "Mount")
HELD_OUT_SHARE = 4


def is_held_out(word: str) -> bool:
    """Tell whether a made-up word is kept for measuring."""
    return zlib.crc32(word.lower().encode()) % HELD_OUT_SHARE == 0


def word(rng: random.Random, held_out: bool, endings: tuple[str, ...] = ("",)) -> str:
    """Make up one capitalised word of the wanted side."""
    while True:
        count = rng.choices((1, 2, 3), (2, 5, 2))[0]
        parts = [_syllable(rng, last=i == count - 1) for i in range(count)]
        made = ("".join(parts) + rng.choice(endings)).capitalize()
        if is_held_out(made) == held_out and 3 < len(made) < 13:
            return made


def _syllable(rng: random.Random, last: bool) -> str:
    onset = rng.choice(ONSETS) if rng.random() < 0.92 else ""
    coda = rng.choice(CODAS) if rng.random() < (0.7 if last else 0.3) else ""
    return onset + rng.choice(VOWELS) + coda


def person(rng: random.Random, held_out: bool) -> str:
    """Make up a person, now and then with an everyday first name or with one name only."""
    last = word(rng, held_out)
    kind = rng.random()
    if kind < 0.1:
        return last
    first = rng.choice(FIRST_NAMES) if kind < 0.45 else word(rng, held_out)
    if kind > 0.93:
        return f"{first} {word(rng, held_out)} {last}"
    return f"{first} {last}"


def city(rng: random.Random, held_out: bool) -> str:
    """Make up a city, of one word or two."""
    name = word(rng, held_out, CITY_ENDINGS)
    kind = rng.random()
    if kind < 0.12:
        return f"{rng.choice(CITY_PREFIXES)} {name}"
    return f"{name} {word(rng, held_out)}" if kind < 0.17 else name


def country(rng: random.Random, held_out: bool) -> str:
    """Make up a country."""
    name = word(rng, held_out, COUNTRY_ENDINGS)
    side = rng.choice(("North", "South", "East", "West", "New"))
    return f"{side} {name}" if rng.random() < 0.1 else name


def language(rng: random.Random, held_out: bool) -> str:
    """Make up a language."""
    return word(rng, held_out, LANGUAGE_ENDINGS)


def company(rng: random.Random, held_out: bool) -> str:
    """Make up a company."""
    name = word(rng, held_out)
    return f"{name} {rng.choice(TRADES)}" if rng.random() < 0.35 else name


def title(rng: random.Random, held_out: bool) -> str:
    """Make up the title of a book or a film; at least one word of it is made up."""
    name = word(rng, held_out)
    adjective, noun = rng.choice(ADJECTIVES), rng.choice(NOUNS)
    return rng.choice(
        (
            name,
            name,
            f"The {name}",
            f"{word(rng, held_out)} {name}",
            f"The {noun} of {name}",
            f"The {adjective} {name}",
            f"{name} and {word(rng, held_out)}",
            f"{adjective} {name}",
            f"A {noun} in {name}",
            f"The {name} {noun}",
        )
    )


MAKERS = {
    "person": person,
    "city": city,
    "country": country,
    "language": language,
    "company": company,
    "title": title,
}

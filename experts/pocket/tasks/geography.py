"""Geography: capitals, currencies and continents of countries. All are facts, so only the wording is held out."""

from __future__ import annotations

from random import Random

from experts.pocket.facts import Country, countries
from experts.pocket.question import Phrasings, Problem, Task, worked


def _fact(key: str, country: Country, sentence: str, answer: str) -> Problem:
    slots = {"country": country.name, "capital": country.capital, "currency": country.currency}
    return Problem(key, slots, answer, worked(sentence, answer), memorised=True)


def _capital(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The capital of {country.name} is {country.capital}."
    return _fact(f"capital of {country.name}", country, sentence, country.capital)


def _currency(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The currency of {country.name} is the {country.currency}."
    return _fact(f"currency of {country.name}", country, sentence, country.currency)


def _continent(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The country {country.name} is in {country.continent}."
    return _fact(f"continent of {country.name}", country, sentence, country.continent)


def _country(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The city of {country.capital} is the capital of {country.name}."
    return _fact(f"country of {country.capital}", country, sentence, country.name.removeprefix("the "))


def _city_continent(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The city of {country.capital} is the capital of {country.name}, in {country.continent}."
    return _fact(f"continent of {country.capital}", country, sentence, country.continent)


def _city_currency(random: Random) -> Problem:
    country = random.choice(countries())
    sentence = f"The city of {country.capital} is the capital of {country.name}, which uses the {country.currency}."
    return _fact(f"currency of {country.capital}", country, sentence, country.currency)


CAPITAL = Phrasings(
    train=(
        "What is the capital of {country}?",
        "Which city is the capital of {country}?",
        "Name the capital of {country}.",
        "What is the name of the capital city of {country}?",
        "Tell me the capital of {country}.",
        "{country}: what is its capital city?",
        "I am travelling to {country}. What is its capital?",
        "What city is the capital of the country {country}?",
    ),
    heldout=(
        "Which city is the capital of the country {country}?",
        "What is the capital city of {country}?",
        "Tell me the name of the capital of {country}.",
    ),
)
CURRENCY = Phrasings(
    train=(
        "What is the currency of {country}?",
        "Which currency is used in {country}?",
        "Name the currency of {country}.",
        "What money do people use in {country}?",
        "Tell me the currency of {country}.",
        "I am travelling to {country}. Which currency do I need?",
        "What is the name of the money used in {country}?",
    ),
    heldout=(
        "Which currency do people use in {country}?",
        "What is the name of the currency of {country}?",
        "I am travelling to {country}. What currency is used there?",
    ),
)
CONTINENT = Phrasings(
    train=(
        "On which continent is {country}?",
        "Which continent is {country} in?",
        "Name the continent of {country}.",
        "What continent is the country {country} on?",
        "Tell me the continent of {country}.",
        "I am travelling to {country}. Which continent is that?",
    ),
    heldout=(
        "On which continent is the country {country}?",
        "What continent is {country} in?",
        "Tell me which continent {country} is on.",
    ),
)
COUNTRY = Phrasings(
    train=(
        "{capital} is the capital of which country?",
        "Which country has {capital} as its capital?",
        "Name the country whose capital is {capital}.",
        "What country has the capital city {capital}?",
        "Tell me which country {capital} is the capital of.",
        "I am travelling to the capital city {capital}. Which country is that in?",
        "{capital} is the capital city of which country?",
        "Of which country is {capital} the capital?",
        "Tell me the country that has the capital {capital}.",
    ),
    heldout=(
        "Which country has the capital city {capital}?",
        "Tell me the country whose capital is {capital}.",
        "{capital} is the capital city of what country?",
    ),
)
CITY_CONTINENT = Phrasings(
    train=(
        "On which continent is the city of {capital}?",
        "Which continent is the city {capital} in?",
        "What continent is the capital city {capital} on?",
        "Name the continent of the city {capital}.",
        "Tell me the continent of the city of {capital}.",
    ),
    heldout=(
        "On which continent is the capital city {capital}?",
        "What continent is the city of {capital} in?",
        "Tell me which continent the city {capital} is on.",
    ),
)
CITY_CURRENCY = Phrasings(
    train=(
        "Which currency is used in the city of {capital}?",
        "What money do people use in the city {capital}?",
        "Name the currency of the city {capital}.",
        "What is the currency in the capital city {capital}?",
        "I am travelling to the city of {capital}. Which currency do I need?",
    ),
    heldout=(
        "Which currency do people use in the city of {capital}?",
        "What is the currency of the city {capital}?",
        "I am travelling to the city {capital}. What currency is used there?",
    ),
)

TASKS = (
    Task("capital", _capital, CAPITAL, share=3),
    Task("currency", _currency, CURRENCY, share=3),
    Task("continent", _continent, CONTINENT, share=2),
    Task("country", _country, COUNTRY, share=3),
    Task("city continent", _city_continent, CITY_CONTINENT),
    Task("city currency", _city_currency, CITY_CURRENCY),
)

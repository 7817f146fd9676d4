"""Pairs of questions for the benchmark of a cache by meaning: 60 that want the same answer, 150 that want another.

The paraphrases, negations and reversals were written by hand; changed numbers and names are made from templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Pair(NamedTuple):
    """Two questions; `kind` is "paraphrase" where one answer serves both, else what makes them differ."""

    kind: str
    one: str
    other: str


PARAPHRASES = """
What is the capital of Kenya? | Which city is Kenya's capital?
How do I reverse a list in Python? | In Python, how can I turn a list around?
What is the boiling point of water at sea level? | At sea level, at what temperature does water boil?
Explain photosynthesis in simple terms. | Can you describe photosynthesis simply?
Who wrote Pride and Prejudice? | Who is the author of Pride and Prejudice?
How many days are there in a leap year? | A leap year has how many days?
What are the symptoms of the flu? | Which symptoms does influenza cause?
How can I reset my password? | I forgot my password, how do I set a new one?
What is the difference between TCP and UDP? | How do UDP and TCP differ?
Translate "good morning" into French. | How do you say "good morning" in French?
What does GDP stand for? | What is the meaning of the abbreviation GDP?
How far is the moon from the earth? | What is the distance between the earth and the moon?
Summarise the plot of Hamlet. | Give me a short summary of Hamlet's plot.
What is the derivative of x squared? | Differentiate x^2.
How do vaccines work? | By what mechanism do vaccines protect people?
Which planet is the largest in the solar system? | What is the biggest planet of our solar system?
How long should I boil an egg? | What is the cooking time of a boiled egg?
What is a mortgage? | Explain what a mortgage is.
When did the Second World War end? | In which year was World War II over?
How do I cancel my subscription? | What are the steps to end my subscription?
What causes rainbows? | Why do rainbows appear?
How can I improve my credit score? | What should I do to raise my credit score?
Write a haiku about autumn. | Compose an autumn haiku.
What is the chemical symbol of gold? | Which symbol does gold have in the periodic table?
How do I install Docker on Ubuntu? | Ubuntu: how to set up Docker?
What is inflation? | Define inflation.
Who painted the Mona Lisa? | The Mona Lisa was painted by whom?
How many bones does an adult human have? | What is the number of bones in a grown person's body?
What is the speed of light? | How fast does light travel?
Why is the sky blue? | What makes the sky look blue?
What is the tallest mountain on Earth? | Which mountain is the world's highest?
How do I undo the last git commit? | What is the way to revert my most recent commit in git?
What is a healthy resting heart rate? | Which pulse at rest is considered healthy?
Give me three synonyms of happy. | List three words that mean happy.
How is cheese made? | Describe how cheese is produced.
What is machine learning? | Could you explain machine learning?
How do I write a cover letter? | Tips for writing a cover letter, please.
What is the currency of Japan? | Which currency do they use in Japan?
What are prime numbers? | Define a prime number.
How does a refrigerator work? | Explain the working of a fridge.
What is the largest ocean? | Which of the oceans is the biggest?
How do I convert a string to an integer in Java? | Java: parse an int from a string, how?
What is the legal drinking age in Germany? | How old must one be to drink alcohol in Germany?
What is an adverb? | Explain adverbs.
How do I remove a coffee stain from cotton? | What gets coffee stains out of cotton?
What year was the Eiffel Tower built? | When was the Eiffel Tower constructed?
How do I sort a dictionary by value in Python? | Python: ordering a dict by its values?
What is the plural of mouse? | How is mouse written in the plural?
What is opportunity cost? | Please define the term opportunity cost.
How many players are in a football team? | A football team consists of how many players?
What is the function of the liver? | What does the liver do?
How can I reduce the size of a PDF? | Ways to make a PDF smaller?
What language is spoken in Brazil? | Which language do Brazilians speak?
What is the Pythagorean theorem? | State Pythagoras' theorem.
How do bees make honey? | By which process do bees produce honey?
How do I file a tax return? | What do I have to do to submit my taxes?
What is a black hole? | Describe black holes.
How often should I water a cactus? | At what intervals does a cactus need water?
Who discovered penicillin? | By whom was penicillin discovered?
What is the meaning of carpe diem? | What does carpe diem mean?
"""

NEGATIONS = """
Which of these drugs may be taken with alcohol? | Which of these drugs may not be taken with alcohol?
Is it legal to record a call without consent? | Is it illegal to record a call without consent?
List countries that are in the European Union. | List countries that are not in the European Union.
Name fruits that contain vitamin C. | Name fruits that contain no vitamin C.
Should I take ibuprofen when I am pregnant? | Should I avoid ibuprofen when I am not pregnant?
Why is this function thread-safe? | Why is this function not thread-safe?
When should I use a mutex? | When should I not use a mutex?
Which foods can dogs eat? | Which foods can't dogs eat?
What happens if I pay my tax bill? | What happens if I don't pay my tax bill?
How do I enable automatic updates? | How do I disable automatic updates?
Show all users who have logged in this month. | Show all users who have never logged in this month.
Is the contract valid with a signature? | Is the contract valid without a signature?
Which mammals lay eggs? | Which mammals do not lay eggs?
Can the landlord raise the rent? | Can't the landlord raise the rent?
What is the chance that it will rain? | What is the chance that it won't rain?
Which metals are magnetic? | Which metals are non-magnetic?
Prove that the number is rational. | Prove that the number is irrational.
Write a test that must pass. | Write a test that must not pass.
Which expenses are deductible? | Which expenses are not deductible?
Is the sum of two odd numbers even? | Is the sum of two odd numbers not even?
What are the advantages of nuclear power? | What are the disadvantages of nuclear power?
Which of the statements is true? | Which of the statements is false?
When was the company profitable? | When was the company unprofitable?
Select the rows where the price is null. | Select the rows where the price is not null.
Are there any side effects of this vaccine in adults? | Are there no side effects of this vaccine in adults?
Give reasons to buy the stock. | Give reasons not to buy the stock.
How can I lock the account? | How can I unlock the account?
Which materials conduct electricity? | Which materials do not conduct electricity?
Is this mushroom edible? | Is this mushroom inedible?
Which visas allow me to work? | Which visas do not allow me to work?
"""

REVERSALS = """
Convert 100 euros to dollars. | Convert 100 dollars to euros.
Translate this text from English into German. | Translate this text from German into English.
How do I migrate from MySQL to Postgres? | How do I migrate from Postgres to MySQL?
Who beat Germany in the final? | Whom did Germany beat in the final?
Is the sun larger than the earth? | Is the earth larger than the sun?
How do I encode text as base64? | How do I decode base64 text?
When does the train from Paris to Lyon leave? | When does the train from Lyon to Paris leave?
What is the maximum of the function? | What is the minimum of the function?
How do I increase the blood pressure? | How do I decrease the blood pressure?
Does smoking cause stress? | Does stress cause smoking?
Should I sell before the split? | Should I sell after the split?
Convert Celsius to Fahrenheit. | Convert Fahrenheit to Celsius.
How do I open the valve? | How do I close the valve?
What is the first step? | What is the last step?
What are the causes of the war? | What are the consequences of the war?
Does A imply B? | Does B imply A?
How do I compress a file? | How do I decompress a file?
What is the highest tax rate? | What is the lowest tax rate?
Which bank lends to the company? | To which bank does the company lend?
How do I import data into Excel? | How do I export data from Excel?
What does the buyer owe the seller? | What does the seller owe the buyer?
Who is the mother of the queen? | Of whom is the queen the mother?
How do I gain weight quickly? | How do I lose weight quickly?
What is the oldest university in Italy? | What is the youngest university in Italy?
Sort the list in ascending order. | Sort the list in descending order.
Divide 12 by 4. | Divide 4 by 12.
Is the left turn allowed? | Is the right turn allowed?
What is the temperature inside when it is cold outside? | What is the temperature outside when it is cold inside?
What was the weather yesterday? | What will the weather be tomorrow?
Who follows the prime minister in office? | Whom did the prime minister follow in office?
"""

NUMBERS = (
    "What is {} times 17?",
    "How much is {} percent of 840?",
    "What is the dose of paracetamol for a child of {} kg?",
    "Convert {} miles to kilometres.",
    "Summarise article {} of the treaty.",
    "What happened in {} in Europe?",
    "How many calories are burnt in {} minutes of running?",
    "What is the monthly rate of a loan of {} dollars over ten years?",
    "Write a story of {} words about a fox.",
    "Solve 3x + 5 = {}.",
    "What does HTTP status {} mean?",
    "How do I fix error {} of the printer?",
    "Which tax do I pay on an income of {} euros?",
    "What is the {}th element?",
    "Plan a trip to Rome for {} people.",
)
AMOUNTS = (("12", "21"), ("404", "403"), ("1914", "1941"))
NAMES = (
    "What is the capital of {}?",
    "Who is the president of {}?",
    "How do I read a file in {}?",
    "What are the side effects of {}?",
    "When was {} born?",
)
NAMED = {
    "What is the capital of {}?": (("Austria", "Australia"), ("Niger", "Nigeria"), ("Slovakia", "Slovenia")),
    "Who is the president of {}?": (("Peru", "Paraguay"), ("France", "Finland"), ("Iran", "Iraq")),
    "How do I read a file in {}?": (("Java", "JavaScript"), ("C", "C++"), ("Python 2", "Python 3")),
    "What are the side effects of {}?": (
        ("ibuprofen", "paracetamol"),
        ("insulin", "metformin"),
        ("codeine", "morphine"),
    ),
    "When was {} born?": (
        ("Isaac Newton", "Albert Einstein"),
        ("George Bush senior", "George Bush junior"),
        ("Marie Curie", "Pierre Curie"),
    ),
}
OWN = (
    ("Summarise my contract with Miller.", "Summarise my contract with Smith."),
    ("Is order A17 on its way?", "Is order A71 on its way?"),
    ("What is the balance of my savings account?", "What is the balance of my credit account?"),
    ("Book a table for Friday.", "Book a table for Saturday."),
    ("What did Anna say in the meeting?", "What did Anne say in the meeting?"),
    ("Fix the bug in login.py.", "Fix the bug in logout.py."),
    ("Write a polite refusal.", "Write a polite acceptance."),
    ("Explain the first amendment.", "Explain the second amendment."),
    ("What is the melting point of iron?", "What is the boiling point of iron?"),
    ("How tall is the Eiffel Tower in metres?", "How tall is the Eiffel Tower in feet?"),
    ("Name the north pole's animals.", "Name the south pole's animals."),
    ("What is the area of a circle?", "What is the circumference of a circle?"),
    ("Who won the men's final?", "Who won the women's final?"),
    ("Give me the stock price of Apple.", "Give me the stock price of Alphabet."),
    ("What is the visa fee for students?", "What is the visa fee for tourists?"),
    ("Rewrite this formally.", "Rewrite this informally."),
    ("What is the population of New York City?", "What is the population of New York State?"),
    ("List the steps of mitosis.", "List the steps of meiosis."),
    ("How do I delete a branch in git locally?", "How do I delete a branch in git remotely?"),
    ("Explain supervised learning.", "Explain unsupervised learning."),
    ("What is the hypothesis of the paper?", "What is the conclusion of the paper?"),
    ("When do clocks go forward?", "When do clocks go back?"),
    ("Which muscle bends the arm?", "Which muscle straightens the arm?"),
    ("What is the deadline for the application in Berlin?", "What is the deadline for the application in Bern?"),
    ("Does the warranty cover the screen?", "Does the warranty cover the battery?"),
    ("How do I mute the microphone?", "How do I mute the speaker?"),
    ("How is a cold treated in adults?", "How is a cold treated in infants?"),
    ("Give the formula of carbon monoxide.", "Give the formula of carbon dioxide."),
    ("Which months have 30 days?", "Which months have 31 days?"),
    ("Describe the climate of the east coast.", "Describe the climate of the west coast."),
)


def pairs() -> Iterator[Pair]:
    """Yield them all, each kind together."""
    for kind, text in (("paraphrase", PARAPHRASES), ("negation", NEGATIONS), ("reversal", REVERSALS)):
        for line in text.strip().splitlines():
            one, other = line.split(" | ")
            yield Pair(kind, one, other)
    for template in NUMBERS:
        for one, other in AMOUNTS:
            yield Pair("number", template.format(one), template.format(other))
    for template in NAMES:
        for one, other in NAMED[template]:
            yield Pair("name", template.format(one), template.format(other))
    for one, other in OWN:
        yield Pair("name", one, other)

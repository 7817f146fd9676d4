r"""Find the comparable final answer inside a text: what a vote can count.

asked      what kind of answer a question wants, read off the conversation
finding    where in a text the answer stands
spelling   one spelling for equal answers: numbers with units, choices, literals, words
behaviour  code compared by what it returns, in the sandbox      trials  what it is called with
"""

from aggregator.extraction.asked import ANYTHING, Kind, Wanted, wanted
from aggregator.extraction.finding import final_answer
from aggregator.extraction.spelling import alike, normalise

__all__ = ["ANYTHING", "Kind", "Wanted", "alike", "final_answer", "normalise", "wanted"]

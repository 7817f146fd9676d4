"""Conversations as people have them: what the user says turn by turn, and the topic after each turn.

A tuple of domains means that any of them is right; None that the turn settles nothing.
"""

Topic = str | tuple[str, ...] | None

CONVERSATIONS: dict[str, list[tuple[str, Topic]]] = {
    "a number is changed": [
        ("What is the sum of the first n odd numbers?", "math"),
        ("and for n = 5?", "math"),
        ("and n = 100?", "math"),
    ],
    "why": [
        ("Why does salt water freeze at a lower temperature than pure water?", ("chemistry", "physics")),
        ("why?", ("chemistry", "physics")),
        ("Can you explain that again?", ("chemistry", "physics")),
    ],
    "thanks, another one": [
        ("Solve x^2 - 7x + 12 = 0 for me.", "math"),
        ("thanks, another one", "math"),
        ("ok great, one more please", "math"),
    ],
    "the landlord": [
        ("Can my landlord evict me without written notice?", "law"),
        ("what if I already paid?", "law"),
        ("and how long would that take?", "law"),
        ("are you sure?", "law"),
    ],
    "shorter, please": [
        ("Write a poem about the autumn wind.", "writing"),
        ("make it shorter", "writing"),
        ("now a bit funnier", "writing"),
    ],
    "from mathematics to law at once": [
        ("What is the integral of x times e to the x?", "math"),
        ("Show the steps.", "math"),
        ("Can my employer dismiss me without notice while I am on sick leave?", "law"),
        ("what can I do about it?", "law"),
    ],
    "from code to cooking": [
        ("Write a Python function that merges two sorted lists.", "code"),
        ("can you add type hints?", "code"),
        ("What should I cook for dinner tonight?", "general chat"),
    ],
    "there and back": [
        ("How does a catalyst speed up a chemical reaction?", "chemistry"),
        ("Who was the first emperor of Rome and how did he come to power?", "history"),
        ("What is the oxidation state of sulphur in sulphuric acid?", "chemistry"),
    ],
    "hello first": [
        ("Hi!", "general chat"),
        ("What are the symptoms of iron deficiency?", "health"),
        ("and in children?", "health"),
    ],
    "thanks last": [
        ("Which hormone regulates blood sugar, and what happens in diabetes?", ("health", "biology")),
        ("thank you very much", ("health", "biology")),
    ],
    "code in the middle": [
        ("My loop never ends, what is wrong with it?", None),
        ("```python\nwhile x < 10:\n    print(x)\n```", "code"),
        ("oh I see. And how would you write it with for?", "code"),
    ],
    "a long history": [
        ("What caused the First World War?", "history"),
        ("Who was the German emperor then?", "history"),
        ("How did the treaty of Versailles end it?", "history"),
        ("What did the Weimar republic do about reparations?", ("history", "economics")),
        ("and the next decade?", "history"),
        ("A 5 kg block slides down a frictionless incline of 30 degrees. What is its acceleration?", "physics"),
        ("and with friction of 0.2?", "physics"),
    ],
    "short questions change the topic too": [
        ("Solve x^2 - 7x + 12 = 0 for me.", "math"),
        ("what is cognitive dissonance", "psychology"),
        ("who was genghis khan", "history"),
        ("what is inflation", "economics"),
        ("write a haiku", "writing"),
    ],
    "complaints stay with the topic": [
        ("What does the keyword static mean in Java?", ("code", "computer science")),
        ("is it slow?", ("code", "computer science")),
        ("give an example", ("code", "computer science")),
        ("hmm, that does not compile", ("code", "computer science")),
    ],
}

"""What the fake experts of the page's world say: each has its subject, and a sentence for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SUM = """Add the hundreds, the tens and the ones:

1. 400 + 200 = **600**
2. 10 + 60 = **70**
3. 7 + 8 = **15**

600 + 70 + 15 = 685

Answer: 685"""
PROGRAM = '''A slice with a negative step walks the text backwards:

```python
def reverse(text: str) -> str:
    """Return the text from its end to its beginning."""
    return text[::-1]
```

It takes time and memory in proportion to the length of `text`.'''
DEPOSIT = """Ordinary wear is the landlord's risk; damage is yours. A scratched floor is the borderline case:

- **Light scratches** after years of living there count as wear.
- **Deep gouges**, from moving furniture say, may be deducted at their *current* value.

Ask for an itemised statement, and compare it with the inventory from the day you moved in."""
IRON = """| Food | Iron per 100 g |
|---|---|
| Lentils, dry | 8.0 mg |
| Pumpkin seeds | 8.8 mg |
| Beef | 2.6 mg |
| Spinach | 2.7 mg |

Vitamin C with the meal helps the body take it up."""
REPLIES: dict[str, dict[str, str]] = {
    "maths": {"417": SUM, "sky": "Air scatters blue light more than red light: Rayleigh scattering goes as 1/λ⁴."},
    "coder": {"reverse": PROGRAM, "417": "print(417 + 268)  # 685\n\nAnswer: 685"},
    "counsel": {"deposit": DEPOSIT, "landlord": DEPOSIT},
    "clinic": {"iron": IRON},
    "general": {"417": "417 + 268 is about 675.\n\nAnswer: 675", "hello": "Hello. What would you like to know?"},
}
OTHERWISE = {
    "maths": "As an equation that is easily answered: write down what is known, then solve for what is not.",
    "coder": "A short program settles that.",
    "counsel": "That depends on the contract and on where you live.",
    "clinic": "In general yes, in moderation; ask your doctor when in doubt.",
    "general": "There are several ways to look at that; here is the shortest one.",
}


def reply_of(name: str) -> Callable[[dict[str, Any]], str]:
    """Return how an expert answers: by the first of its words that the last message has."""

    def reply(body: dict[str, Any]) -> str:
        asked = str(body["messages"][-1]["content"]).lower()
        return next((text for word, text in REPLIES[name].items() if word in asked), OTHERWISE[name])

    return reply

"""How good an expert is in a domain: measured where it was, else a prior from what it declares.

    measured    (correct + SHRINKAGE * usual) / (count + SHRINKAGE), usual = the expert's accuracy overall
    declared    a little above what others would be measured at in the domain, the first domain most
    neither     well below; the default expert in between, as a generalist
    elsewhere   whoever is ahead of the others where it was measured is expected to be by half as much here

What feedback has taught since is added on top, as log odds (router.learning).

Priors stand on the level of the domain, because an unmeasured expert that declares math should not beat one
that was measured at 0.45 on hard questions merely by never having been asked. What a measured expert declares is
reckoned in: a specialist's 0.95 in its own domain says that the domain is easy for specialists, not for everybody,
and is what was to be expected of one that is bad at everything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from experts.profile import Skill, SkillProfile
from experts.types import Domain, ExpertName
from router.learning.offsets import shifted
from router.taxonomy import Taxonomy

SHRINKAGE = 10.0
USUAL_LEVEL = 0.6
DECLARED_GAIN = 0.2
DECLARED_STEP = 0.02
GENERALIST_GAIN = 0.0
UNDECLARED_GAIN = -0.15
TRANSFER = 0.5
"""Part of an expert's lead in the domains it was measured in that is expected in the others."""
TOLD = 0.005


KEPT = 8
"""Tables kept: the registered experts change seldom, and arms of a trial share a few sets of them."""


class SkillTable:
    """Skills of a set of experts, comparable with each other.

    Built from all registered experts, also those that may not answer now: masking changes no skill. What was
    worked out once is kept; `skill_table` keeps whole tables.
    """

    def __init__(self, profiles: Sequence[SkillProfile], taxonomy: Taxonomy, default: ExpertName | None) -> None:
        self._taxonomy = taxonomy
        self._default = default
        self._profiles = profiles
        self._names = [profile.expert for profile in profiles]
        self._known: dict[tuple[ExpertName, Domain], float] = {}
        self._levels: dict[Domain, float] = {}
        self._places: dict[ExpertName, dict[Domain, int]] = {}
        self._means: dict[ExpertName, float] = {}
        self._tops: dict[Domain, float] = {}
        self._leads: dict[ExpertName, float] = {}
        self._reasons: dict[tuple[ExpertName, Domain], str] = {}
        self._grids: dict[tuple[Domain, ...], NDArray[np.float64]] = {}

    def expected(self, scores: Mapping[Domain, float]) -> dict[ExpertName, tuple[float, Domain | None]]:
        """Return each registered expert's expected quality, and the domain that adds most to it (None without any).

        An expert's quality depends on nobody else's, to the last bit, so leaving some out reorders no others.
        """
        domains = tuple(scores)
        if not domains:
            return dict.fromkeys(self._names, (0.0, None))
        if domains not in self._grids:
            self._grids[domains] = np.array([[self.skill(each, name) for name in domains] for each in self._profiles])
        parts = self._grids[domains] * np.fromiter(scores.values(), np.float64, len(domains))
        qualities, tops = parts.sum(axis=1).tolist(), parts.argmax(axis=1).tolist()
        return dict(zip(self._names, zip(qualities, map(domains.__getitem__, tops), strict=True), strict=True))

    def skill(self, profile: SkillProfile, domain: Domain) -> float:
        """Return the expected share of right answers, 0..1."""
        key = (profile.expert, domain)
        if key not in self._known:
            measured = self.measured(profile, domain)
            base = self._prior(profile, domain) if measured is None else shrunk(measured, self._usual(profile, domain))
            self._known[key] = shifted(base, profile.shift(domain))
        return self._known[key]

    def measured(self, profile: SkillProfile, domain: Domain) -> Skill | None:
        """Return what was measured in the domain, or in groups and domains that overlap with it."""
        if domain in profile.measured or not profile.measured:
            return profile.measured.get(domain)
        wanted = set(self._taxonomy.expand([domain]))
        overlapping = [skill for name, skill in profile.measured.items() if wanted & set(self._taxonomy.expand([name]))]
        return pooled(overlapping) if overlapping else None

    def reason(self, profile: SkillProfile, domain: Domain) -> str:
        """Return in words what the expert's skill in the domain rests on."""
        key = (profile.expert, domain)
        if key not in self._reasons:
            learnt = profile.shift(domain)
            told = f", feedback {learnt:+.2f} logits" if abs(learnt) >= TOLD else ""
            self._reasons[key] = self._grounds(profile, domain) + told
        return self._reasons[key]

    def _grounds(self, profile: SkillProfile, domain: Domain) -> str:
        measured = self.measured(profile, domain)
        if measured is not None:
            best = "best " if self.skill(profile, domain) >= self._best(domain) else ""
            return f"{best}measured on {domain} ({measured.accuracy:.2f}, n={measured.count})"
        if self._place(profile, domain) is not None:
            return f"declares {domain}" if profile.domains else f"its examples are about this ({domain})"
        return "generalist" if self._is_generalist(profile) else f"does not declare {domain}"

    def _usual(self, profile: SkillProfile, domain: Domain) -> float:
        """Return the expert's accuracy over all it was measured on, more where it declares the domain."""
        if profile.expert not in self._means:
            skills = profile.measured.items()
            bare = sum(skill.count * (skill.accuracy - self._gain(profile, name)) for name, skill in skills)
            self._means[profile.expert] = bare / sum(skill.count for _, skill in skills)
        return min(1.0, max(0.0, self._means[profile.expert] + self._gain(profile, domain)))

    def _best(self, domain: Domain) -> float:
        """Return the highest skill of any registered expert in the domain."""
        if domain not in self._tops:
            self._tops[domain] = max(self.skill(each, domain) for each in self._profiles)
        return self._tops[domain]

    def _prior(self, profile: SkillProfile, domain: Domain) -> float:
        return min(1.0, max(0.0, self._level(domain) + self._gain(profile, domain) + TRANSFER * self._lead(profile)))

    def _level(self, domain: Domain) -> float:
        """Return the mean accuracy of those that were measured in the domain, as if none declared it."""
        if domain not in self._levels:
            found = [(each, skill) for each in self._profiles if (skill := self.measured(each, domain))]
            bare = [skill.accuracy - self._gain(each, domain) for each, skill in found]
            self._levels[domain] = fmean(bare) if bare else USUAL_LEVEL
        return self._levels[domain]

    def _lead(self, profile: SkillProfile) -> float:
        """Return how far the expert is ahead of what it declares, among others, where it was measured; else 0."""
        if profile.expert not in self._leads:
            skills = profile.measured.items()
            ahead = sum(
                skill.count * (skill.accuracy - self._level(domain) - self._gain(profile, domain))
                for domain, skill in skills
            )
            self._leads[profile.expert] = ahead / (sum(skill.count for _, skill in skills) + SHRINKAGE)
        return self._leads[profile.expert]

    def _gain(self, profile: SkillProfile, domain: Domain) -> float:
        place = self._place(profile, domain)
        if place is not None:
            return DECLARED_GAIN - DECLARED_STEP * min(place, 5)
        return GENERALIST_GAIN if self._is_generalist(profile) else UNDECLARED_GAIN

    def _place(self, profile: SkillProfile, domain: Domain) -> int | None:
        """Return the place of the domain among those the expert declares, 0 first; None when it does not.

        A group is declared by its name, or by naming all its domains.
        """
        places = self._declared(profile)
        if domain in places or domain not in self._taxonomy.groups:
            return places.get(domain)
        members = [places.get(name, -1) for name in self._taxonomy.expand([domain])]
        return min(members) if min(members) >= 0 else None

    def _declared(self, profile: SkillProfile) -> dict[Domain, int]:
        """Return every domain that the expert's declared names mean, with the place of the first such name."""
        if profile.expert not in self._places:
            places: dict[Domain, int] = {}
            for place, name in enumerate(profile.domains or (profile.expert,)):
                for domain in (name, *self._taxonomy.expand([name])):
                    places.setdefault(domain, place)
            self._places[profile.expert] = places
        return self._places[profile.expert]

    def _is_generalist(self, profile: SkillProfile) -> bool:
        return profile.expert == self._default or not (profile.domains or profile.examples)


def skill_table(profiles: Sequence[SkillProfile], taxonomy: Taxonomy, default: ExpertName | None) -> SkillTable:
    """Return the table of these experts: the one made last time where it is the very same tuple of profiles.

    Identity is enough, because profiles never change: whoever learns something makes new ones.
    """
    for kept in _kept:
        if kept[0] is profiles and kept[1] is taxonomy and kept[2] == default:
            return kept[3]
    table = SkillTable(profiles, taxonomy, default)
    if isinstance(profiles, tuple):
        _kept.appendleft((profiles, taxonomy, default, table))
    return table


_kept: deque[tuple[Sequence[SkillProfile], Taxonomy, ExpertName | None, SkillTable]] = deque(maxlen=KEPT)


def shrunk(measured: Skill, level: float) -> float:
    """Return the accuracy as if SHRINKAGE more questions had been answered at the expert's overall level."""
    return (measured.accuracy * measured.count + SHRINKAGE * level) / (measured.count + SHRINKAGE)


def pooled(skills: Iterable[Skill]) -> Skill:
    """Return the accuracy over all the questions of several skills, at least one."""
    known = list(skills)
    count = sum(skill.count for skill in known)
    return Skill(sum(skill.accuracy * skill.count for skill in known) / count, count)

"""Words for the demonstration model: what it trains on, and what only the evaluation may use.

Training text mixes listed words, made-up words and random letters; held-out text uses other words
and other syllables, so exact match on it shows copying of words the model has never met.
"""

from __future__ import annotations

import random
import re
from functools import cache

import facts


def word_list(block: str) -> list[str]:
    """The words of a block of text; one written twice is drawn twice as often."""
    return block.split()


LETTERS = "abcdefghijklmnopqrstuvwxyz"
ACCENTED = "äöüéèñçáíóøå"
FUNCTION_WORDS = word_list("""
the the the the the a a of of in in and and to for with on from by at or its their this that it into
over not very
""")
VERBS = word_list("""
is is are has have can must does do not will you your us was first about used for
""")

_TRAINING_POOL = """
acid actor almond amber ankle apple apron arrow artist autumn badge bakery balance bamboo banner
barley barrel basil basket beach beaver bell bench berry bicycle bishop bottle boulder bracelet
branch brass brick bridge brush bubble bucket bundle butter button cabin cable camel canal candle
canvas carpet carrot castle cedar cellar cement chain chair chalk channel cherry chimney circle
clay cliff clock cloth clover coast cobalt coin collar colony column copper coral corner cotton
cousin cradle crane crater crown crystal cushion dairy daisy dancer dealer desert diamond dinner
dolphin donkey dragon drawer drum eagle editor elbow engine fabric factory falcon farmer feather
fence ferry field flame flute forest fork fountain frame friend garden garlic ginger glass glove
goblet grain granite gravel guitar hammer harbor harvest helmet honey hunter island ivory jacket
jewel journal jungle kettle kitten ladder lantern lawyer leather lemon lentil letter lizard locker
magnet mantle maple marble market meadow mirror monkey mortar mountain mustard napkin needle nephew
nickel olive onion orange orchard otter oven oyster paddle palace panel parcel parrot pastry
pebble pencil pepper pewter pickle pigeon pillar pilot pirate planet pocket poet pony poppy potter
powder prairie prince pumpkin puppet quarry rabbit raft ribbon river rocket saddle sailor salmon
satin scarf school sculptor shadow shelf shepherd shrimp signal silver singer sister slate sofa
soldier spade sparrow spice sponge stable statue stone stove stream sugar summer sweater table
tailor teapot temple tiger timber tomato tower tractor trader trumpet tunnel turtle uncle valley
velvet village violet wagon wallet walnut weaver whale wheat willow window winter wizard writer
ancient bitter blunt bold brave brief bright broad broken calm cheap clever coarse common crisp
cruel curved damp deep dense distant dull eager early elegant empty even exact faint fancy fierce
firm flat formal frozen gentle glad golden grand greedy hidden hollow humble idle inner joint keen
large lazy level liquid lively local loose loud loyal lucky magic major mellow mild minor modern
narrow neat noble nimble northern odd open outer pale plain polite proud pure purple quick quiet
rare raw ready rigid ripe rough round royal rural scarlet secret shallow sharp shiny silent simple
sleepy slim small smooth sober soft solar solid southern spare steep stiff strange strict sturdy
sudden sunny tall tame tender thick thin tidy tiny tough usual vague vast western wild wise woolen
absorb accept admire adopt advise allow amuse answer appear arrange arrive attach attack avoid bake
behave belong blend bloom borrow bounce bring build bury buy carry carve catch chase check
choose climb collect color combine compare contain copy count cover crawl create cross dance decide
deliver deny depend describe develop dig divide draw dream drift drive earn edit enjoy enter escape
examine expect explain fasten fetch finish float follow forget forgive frighten gather glow grab
greet guard guess guide handle hang hide hire hope hurry imagine include inform invite join judge
jump kneel label land laugh launch lead lend lift listen load lock manage march mark mention obey
offer order paint pass pause perform permit plant play point polish post pour practice prefer
prepare present print promise pull punish push race raise reach receive refuse remain remember
repeat reply report return ride ring roll rub sail scatter search sell send settle shake share shout
show sign sing sketch slide spell spill spread squeeze stack stamp steer stretch study suggest
supply support surround swallow sweep swim swing teach thank tie touch trace travel trust turn
visit wander warn wash waste watch wave weave welcome whistle wink wipe wonder worry wrap yawn
"""
_TRAINING_NAMES = """
France Germany Italy Spain Japan China India Brazil Canada Mexico Egypt Kenya Norway Sweden Poland
Turkey Greece Peru Chile Cuba Madrid Tokyo Delhi Cairo Oslo Lima London Boston Dublin Vienna
Prague Moscow Athens Anna John Peter James Mary Laura Emma David Daniel Robert Thomas Sarah Helen
Alice Charles Victor Frank Henry Martin Smith Brown Taylor Miller Wilson Moore Clark Walker Young
Adams Nelson Carter Turner Parker Collins Europe Asia Africa Texas Ohio Berlin Geneva Milan
"""
_HELD_OUT_POOL = """
algebra algorithm alphabet anchor antibody archive asthma astronaut backup biscuit blanket broccoli
butterfly buffalo calcium captain cargo carpenter celery chapter chocolate citizen comet compass
compiler condense cucumber curtain customer database democracy diploma discount dissolve download
earthquake eclipse election electrician elephant emperor enzyme equation evaporate explore fiddle
fraction freckle furniture galaxy geometry giggle glacier grammar herring hydrogen hurricane inhale
insurance invoice jellyfish kangaroo kidney kiwi lightning lobster mackerel mechanic melody membrane
mosquito novel nurse ocelot orchestra oxygen package paragraph parliament password penguin plumber
portrait president protein pyramid quilt quiver raccoon receipt reflect rhythm rotate salary
satellite scissors screwdriver sentence shovel simmer skeleton software sparkle spinach sprinkle
stomach submarine sunlight surgery symphony telescope therapy thunder tornado treaty trolley
umbrella uniform upload vaccine vegetable violin vitamin volcano voyage whisper yogurt zebra zipper
"""
_HELD_OUT_NAMES = """
Portugal Hungary Iceland Vietnam Thailand Morocco Nigeria Ecuador Jamaica Belgium Lisbon Budapest
Reykjavik Hanoi Bangkok Rabat Quito Kingston Florence Sophia Gabriel Olivia Ethan Hannah Jacob
Lucas Chloe Galileo Beethoven Gutenberg Pasteur Johansson Kowalski Nakamura Okafor Ivanov Dubois
Rossi Schneider Antarctica Australia
"""


def content_words(text: str) -> set[str]:
    """The lower-case words of a text that are not function words."""
    return set(re.findall(r"[a-z]{3,}", text.lower())) - set(FUNCTION_WORDS)


HELD_OUT_WORDS = word_list(_HELD_OUT_POOL)
HELD_OUT_NAMES = word_list(_HELD_OUT_NAMES)


@cache
def _reserved() -> frozenset[str]:
    shown = {word for text in facts.all_texts() for word in content_words(text)}
    return frozenset(shown | {word.lower() for word in HELD_OUT_WORDS + HELD_OUT_NAMES})


TRAINING_WORDS = [word for word in word_list(_TRAINING_POOL) if word not in _reserved()]
TRAINING_NAMES = [name for name in word_list(_TRAINING_NAMES) if name.lower() not in _reserved()]

_ONSETS = word_list("""
b c d f g h j k l m n p r s t v w z br cl tr st pl gr
""")
_RIMES = word_list("""
a e i o u an en in or ia er al es
""")
TRAINING_SYLLABLES = [onset + rime for onset in _ONSETS for rime in _RIMES]
_HELD_OUT_ONSETS = word_list("""
ch sh th sk dr fl qu wh y sp kn
""")
_HELD_OUT_RIMES = word_list("""
ay ee oo ur ack ed ong ist ul ow
""")
HELD_OUT_SYLLABLES = [onset + rime for onset in _HELD_OUT_ONSETS for rime in _HELD_OUT_RIMES]


def capitalize(text: str) -> str:
    """Upper-case the first character and leave the rest alone."""
    return text[:1].upper() + text[1:]


class Words:
    """The word source of one sample."""

    def __init__(self, rng: random.Random, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out
        self.vocabulary = HELD_OUT_WORDS if held_out else TRAINING_WORDS
        self.names = HELD_OUT_NAMES if held_out else TRAINING_NAMES
        self.syllables = HELD_OUT_SYLLABLES if held_out else TRAINING_SYLLABLES
        self.share_listed = rng.choice((0.9, 0.9, 0.6, 0.2))
        self.few: list[str] = []
        if not held_out and rng.random() < 0.08:
            self.few = [self._fresh_word() for _ in range(rng.randint(5, 9))]
        self.repeats = 0.0 if held_out else rng.choice((0.0, 0.0, 0.0, 0.15, 0.3))
        self.drawn: list[str] = []

    def _fresh_word(self) -> str:
        rng = self.rng
        if rng.random() < self.share_listed:
            return rng.choice(self.vocabulary)
        if self.held_out or rng.random() < 0.6:
            return "".join(rng.choice(self.syllables) for _ in range(rng.randint(1, 3)))
        letters = LETTERS + ACCENTED if rng.random() < 0.1 else LETTERS
        return "".join(rng.choice(letters) for _ in range(rng.randint(2, 8)))

    def word(self) -> str:
        """One content word; in some training samples often one that was drawn before."""
        if self.few:
            return self.rng.choice(self.few)
        if self.drawn and self.rng.random() < self.repeats:
            return self.rng.choice(self.drawn)
        self.drawn.append(self._fresh_word())
        return self.drawn[-1]

    def name(self) -> str:
        """One capitalised name, listed or made up."""
        if self.rng.random() < 0.6:
            return self.rng.choice(self.names)
        return capitalize(self._fresh_word())

    def person(self) -> str:
        """One to three names."""
        person = self.name()
        for _ in range(self.rng.choice((0, 0, 1, 1, 1, 2))):
            person += self.rng.choice((" ",) * 9 + (" van ", " da ", " and ", "-")) + self.name()
        return person

    def variation(self, phrase: str) -> str:
        """The same phrase with one word changed."""
        words = phrase.split()
        words[self.rng.randrange(len(words))] = self.word()
        return " ".join(words)

    def code(self) -> str:
        """One to three capital letters."""
        return "".join(self.rng.choice(LETTERS) for _ in range(self.rng.randint(1, 3))).upper()

    def decorated(self) -> str:
        """A word or a number with punctuation."""
        word, first, second = self.word(), self.rng.randint(0, 99), self.rng.randint(0, 99)
        forms = (
            f"{word}'s",
            f"({word})",
            f"{first}%",
            f"{first}.{second}",
            f"{word}/{self.word()}",
        )
        return self.rng.choice(forms)

    def year(self) -> str:
        """A four-digit year."""
        return str(self.rng.randint(1000, 2050))

    def clause(self, least: int, most: int) -> str:
        """A phrase that may also hold verbs such as `is` and may start with an article."""
        number = f"{self.rng.randint(2, 500)} "
        start = self.rng.choice(("the ", "the ", "it ", "a ", number, *[""] * 6))
        return start + self.phrase(least, most, FUNCTION_WORDS + VERBS)

    def phrase(self, least: int, most: int, between: list[str] = FUNCTION_WORDS) -> str:
        """A run of content words, with function words, numbers and names here and there."""
        rng = self.rng
        words: list[str] = []
        for position in range(rng.randint(least, most)):
            if position and rng.random() < 0.4:
                words.append(rng.choice(between))
            chance = rng.random()
            if position and chance < 0.03:
                words.append(str(rng.randint(2, 500)))
            elif position and chance < 0.07:
                words.append(self.name())
            elif position and chance < 0.08:
                words.append(self.code())
            elif position and chance < 0.10:
                words.append(self.decorated())
            elif chance < 0.12:
                words.append(f"{self.word()}-{self.word()}")
            else:
                words.append(self.word())
        return " ".join(words)

    def thing(self) -> str:
        """A short noun phrase, sometimes with an article, sometimes a proper name with one."""
        if self.rng.random() < 0.1:
            return (
                f"the {self.name()} {self.name()}"
                if self.rng.random() < 0.5
                else f"the {self.name()}"
            )
        article = self.rng.choice(("the ", "the ", "a ", "", "", ""))
        return article + self.phrase(1, 2)

"""The shelves of Larkfield: departments, kinds of goods and their variants. Everything is made from these by `seed_catalog`."""

from typing import NamedTuple


class Variant(NamedTuple):
    name: str  # put before the kind's name
    price_factor: float
    material: str
    words: str


class Kind(NamedTuple):
    name: str
    price: float
    size: str
    summary: str
    words: str
    variants: str = "wood"


class Department(NamedTuple):
    name: str
    slug: str
    description: str
    closing: str
    kinds: list[Kind]


VARIANTS = {
    "wood": [
        Variant("Oak", 1.2, "European oak, oiled", "Oak is heavy and calm in the grain, and darkens a little with each year."),
        Variant("Beech", 1.0, "Steamed beech, oiled", "Beech is hard, pale and even; it takes knocks without splinters."),
        Variant("Walnut", 1.5, "Black walnut, waxed", "Walnut comes from storm-felled trees, so no two pieces share a colour."),
        Variant("Ash", 1.1, "Ash, white oil", "Ash is light in the hand and springy, with a grain like combed sand."),
    ],
    "metal": [
        Variant("Brass", 1.3, "Solid brass, unlacquered", "Unlacquered brass goes from gold to brown where hands touch it; a cloth brings it back."),
        Variant("Blackened", 1.0, "Steel, blackened and waxed", "The steel is blackened in hot oil, an old finish that does not flake."),
        Variant("Copper", 1.4, "Copper, tin-lined where it meets food", "Copper warms quickly and evenly, and weighs what a good tool should."),
        Variant("Stainless", 1.1, "Stainless steel 18/10, brushed", "Brushed stainless steel asks for nothing but hot water."),
    ],
    "clay": [
        Variant("Chalk-white", 1.0, "Stoneware, matt white glaze", "The matt glaze feels like an eggshell and is safe in the dishwasher."),
        Variant("Moss-green", 1.05, "Stoneware, ash glaze", "Wood ash gives the green its depth; where it ran, it pooled darker."),
        Variant("Midnight", 1.05, "Stoneware, cobalt glaze", "Cobalt under a clear glaze: nearly black indoors, blue by the window."),
        Variant("Raw", 0.95, "Stoneware, unglazed outside", "The outside is left bare, rough enough to hold with wet hands."),
    ],
    "cloth": [
        Variant("Linen", 1.3, "Flax from Normandy, washed", "Washed linen is soft from the first day and dries faster than anything else."),
        Variant("Wool", 1.5, "Lambswool, spun in Yorkshire", "Lambswool keeps its warmth when damp, and airs clean overnight."),
        Variant("Cotton", 1.0, "Organic cotton, 240 g", "The cotton is woven dense enough to last and loose enough to breathe."),
        Variant("Hemp", 1.15, "Hemp and cotton, 55/45", "Hemp starts out stiff and then softens for twenty years."),
    ],
    "colour": [
        Variant("Sand", 1.0, "Waxed canvas, leather trim", "Sand hides what a day outdoors leaves on it."),
        Variant("Fern", 1.0, "Waxed canvas, leather trim", "The fern green is dyed in the yarn, so it does not rub off."),
        Variant("Slate", 1.0, "Waxed canvas, leather trim", "Slate goes with everything, and shows nothing."),
        Variant("Rust", 1.05, "Waxed canvas, bridle leather trim", "Rust grows warmer as the wax wears in."),
    ],
}  # fmt: skip

DEPARTMENTS = [
    Department("Kitchen", "kitchen", "Pots, boards and knives that get better with use.",
        "Made to be used daily, and to be mended: every part can be had on its own.", [
        Kind("chopping board", 38, "40 × 26 × 3 cm", "A board with weight enough to stay where it is.", "The end grain closes over cuts instead of fraying, and a hidden groove keeps the juice of a roast."),
        Kind("rolling pin", 24, "46 cm, 5 cm across", "No handles, so you feel how thick the dough is.", "Turned from one piece, a touch thicker in the middle, the way bakers ask for it."),
        Kind("salt box", 32, "14 × 12 × 11 cm", "Salt at hand, and dry, by the stove.", "The lid swings on a single pin and closes by its own weight."),
        Kind("bread bin", 74, "42 × 24 × 20 cm", "Keeps a loaf fresh for most of a week.", "Two small holes at the back let just enough air through; the lid doubles as a board."),
        Kind("saucepan", 89, "18 cm, 2 litres", "The pan that is always in use.", "A thick base for slow heat, a rim that pours from either side.", "metal"),
        Kind("ladle", 26, "31 cm", "One full bowl at a time.", "Bowl and handle are forged from one piece, bent so that it rests on the pot.", "metal"),
        Kind("colander", 44, "24 cm across", "Drains quickly, stands firmly.", "Three feet, wide handles, and holes small enough for rice.", "metal"),
        Kind("mixing bowl", 36, "26 cm, 3.5 litres", "Deep enough for a loaf's worth of dough.", "A flat spot on the foot lets you tilt it while you whisk.", "clay"),
        Kind("storage crock", 42, "18 cm, 2.5 litres", "For flour, or for sauerkraut.", "The lid sits in a groove that seals with a little water.", "clay"),
        Kind("oven dish", 48, "32 × 22 × 7 cm", "From the cold straight into the heat.", "Fired at 1,260 degrees, so it forgives the step from fridge to oven.", "clay"),
    ]),
    Department("Table", "table", "Plates, bowls and cups for every day and for guests.",
        "Each piece is made by hand; small differences are meant.", [
        Kind("dinner plate", 26, "27 cm", "A broad rim for the thumb, a flat floor for the knife.", "Heavy enough to keep food warm, slim enough to stack twelve in a cupboard.", "clay"),
        Kind("soup bowl", 24, "17 cm, 0.6 litre", "Deep, so that it stays hot.", "The lip turns out a little, which makes the last spoonful easy.", "clay"),
        Kind("coffee cup", 18, "8 cm, 0.25 litre", "Warm in both hands.", "The handle takes two fingers, the foot leaves no ring.", "clay"),
        Kind("teapot", 68, "1.1 litres", "Pours without a drop on the cloth.", "The sieve is pierced into the body; the lid stays on when you tip it.", "clay"),
        Kind("jug", 39, "22 cm, 1.4 litres", "Water, milk, or a handful of cow parsley.", "A lip that cuts the stream cleanly, and a handle that clears the knuckles.", "clay"),
        Kind("serving spoon", 28, "25 cm", "For everything that is passed round.", "Shallow on one side to reach into corners.", "metal"),
        Kind("trivet", 22, "19 cm", "Spares the table.", "It folds flat, hangs on a nail, and takes a full pot.", "metal"),
        Kind("serving tray", 54, "46 × 32 cm", "Breakfast for two in one trip.", "The raised rim is steamed and bent from a single strip.", "wood"),
        Kind("napkin set", 34, "four, 45 × 45 cm", "Four napkins with mitred corners.", "They need no iron, and look better for it.", "cloth"),
        Kind("tablecloth", 79, "250 × 150 cm", "Wide enough to fall properly.", "Woven in full width, so there is no seam to set a glass on.", "cloth"),
    ]),
    Department("Lighting", "lighting", "Lamps to read by, candlesticks, lanterns.",
        "Nothing is glued: each part comes off, to be cleaned or replaced.", [
        Kind("desk lamp", 128, "48 cm high", "Light where the page is.", "Two joints with real springs hold it where you leave it.", "metal"),
        Kind("wall lamp", 96, "22 × 16 cm", "A warm pool of light in a corridor.", "The shade turns, to wash the wall or to read by.", "metal"),
        Kind("pendant lamp", 142, "34 cm across", "Hangs low over a table.", "Spun from one disc; the inside is white, the light is soft.", "metal"),
        Kind("candlestick", 32, "14 cm high", "For ordinary candles, made extraordinary.", "A wide foot catches wax and keeps its balance.", "metal"),
        Kind("lantern", 58, "28 cm high", "Takes a candle through the wind.", "Four panes that slide out for cleaning, and a ring to hang it by.", "metal"),
        Kind("floor lamp", 198, "152 cm high", "Stands behind the good chair.", "The arm reaches over, the base stays flat under the rug.", "wood"),
        Kind("bedside lamp", 88, "31 cm high", "Dims by touch, forgets nothing.", "It remembers how bright you like it at night.", "wood"),
        Kind("lamp shade", 46, "30 cm", "Softens any bulb.", "Hand-rolled edges and a ring for both usual fittings.", "cloth"),
        Kind("oil lamp", 44, "17 cm high", "An evening's light from a cup of oil.", "The wick is cotton, the chimney is borosilicate glass.", "clay"),
        Kind("night light", 29, "9 cm", "Enough to find the door.", "The light falls through pierced stars onto the wall.", "clay"),
    ]),
    Department("Desk", "desk", "Paper, pens and places for them.",
        "Designed with two people who write for a living, and used by them daily.", [
        Kind("pen tray", 28, "24 × 9 cm", "Pens where you look for them.", "Three troughs, one of them for the short pencil that is the best one."),
        Kind("letter rack", 34, "22 × 12 × 14 cm", "Two slots: to do, and done.", "The back slot takes a tablet upright while it charges."),
        Kind("book stand", 47, "32 × 24 cm", "Holds a cookbook or a score open.", "The pins turn to hold thick books, and fold away."),
        Kind("ruler", 14, "30 cm", "A straight edge that stays straight.", "The marks are burnt in and begin exactly at the end.", "wood"),
        Kind("paperweight", 26, "7 cm", "Keeps the draught out of your thinking.", "Turned, polished, and heavier than it looks.", "metal"),
        Kind("pencil sharpener", 19, "3 cm", "A long, fine point.", "Two blades in a solid block; spares are under the lid.", "metal"),
        Kind("bookends", 52, "a pair, 15 cm", "They do not slide, however tall the books.", "A thin tongue goes under the first book, whose weight does the rest.", "metal"),
        Kind("pen roll", 39, "36 × 22 cm", "Twelve pens, one knot.", "A flap keeps nibs from meeting.", "cloth"),
        Kind("notebook cover", 36, "for A5", "One cover for many years of notebooks.", "Two pockets, a pen loop, and no fastening to lose.", "cloth"),
        Kind("desk pot", 22, "11 cm", "For brushes and scissors.", "Straight-sided and steady, with a cork under the foot.", "clay"),
    ]),
    Department("Garden", "garden", "Tools with long handles and long lives.",
        "From a small works that also takes old pieces back and mends them.", [
        Kind("hand trowel", 29, "32 cm", "Cuts through roots rather than round them.", "One side is ground sharp, the other keeps the soil.", "metal"),
        Kind("hand fork", 29, "30 cm", "Loosens, lifts, does not bend.", "Three square tines, drawn out under the hammer.", "metal"),
        Kind("watering can", 84, "5 litres", "Balanced full and balanced empty.", "A long spout and a rose that points upwards, for rain and not for floods.", "metal"),
        Kind("plant mister", 36, "0.4 litre", "Fog rather than drops.", "The pump comes apart without a tool, for when the water is hard.", "metal"),
        Kind("dibber", 21, "28 cm", "Straight holes at a known depth.", "Rings every two centimetres tell you when to stop.", "wood"),
        Kind("seed box", 49, "32 × 20 × 14 cm", "Twelve months in twelve drawers.", "The dividers move, the lid has room for a pencil.", "wood"),
        Kind("planter", 58, "28 cm", "Drains well and looks well.", "The saucer is part of the pot, so that no ring is left on the boards.", "clay"),
        Kind("bird bath", 66, "36 cm across", "Shallow at the rim, deeper in the middle.", "Rough enough for small feet, glazed where it is cleaned.", "clay"),
        Kind("gardening apron", 56, "one size", "Pockets for twine, knife and seeds.", "The straps cross at the back and never touch the neck.", "cloth"),
        Kind("kneeling pad", 34, "44 × 26 cm", "Saves knees and trousers.", "Filled with cork; the cover comes off for the wash.", "colour"),
    ]),
    Department("Textiles", "textiles", "Blankets, towels and cushions, woven narrow and well.",
        "Made on old, slow looms that still make the strongest cloth.", [
        Kind("throw", 119, "180 × 130 cm", "For the sofa, and for whoever is on it.", "The fringe is twisted by hand and survives the washing machine.", "cloth"),
        Kind("cushion", 54, "50 × 50 cm", "Feathers inside, a hidden zip outside.", "Two sides, two patterns; turn it when the light changes.", "cloth"),
        Kind("bath towel", 46, "140 × 70 cm", "Dries you, then itself.", "A honeycomb weave that drinks water and needs little room.", "cloth"),
        Kind("hand towel", 24, "90 × 50 cm", "With a loop, in the middle, where it belongs.", "The same honeycomb as the bath towel, a size smaller.", "cloth"),
        Kind("tea towel", 16, "70 × 50 cm", "Leaves no lint on a glass.", "A plain weave, a coloured stripe, and a loop that holds.", "cloth"),
        Kind("bedspread", 189, "260 × 220 cm", "Covers the bed and half the floor.", "Quilted in straight lines that hold the filling in place.", "cloth"),
        Kind("oven glove", 22, "30 cm", "Grips what is hot.", "Felt between two layers, and long enough for the wrist.", "cloth"),
        Kind("door draught stop", 32, "90 cm", "Keeps the winter in the hall.", "Filled with spelt husk, heavy enough to stay.", "cloth"),
        Kind("floor mat", 68, "90 × 60 cm", "Takes the rain off your boots.", "The pile is brushed upright and shakes out clean.", "colour"),
        Kind("seat pad", 39, "40 × 40 cm", "Makes a hard chair a good one.", "Buttoned so that the filling does not wander.", "colour"),
    ]),
    Department("Storage", "storage", "Boxes, baskets and hooks for things without a place.",
        "Sizes follow one grid, so that boxes stack and shelves fit.", [
        Kind("wall shelf", 78, "80 × 18 cm", "Two brackets, no visible screw.", "Carries twenty kilograms, or a row of encyclopaedias."),
        Kind("coat rack", 92, "70 × 12 cm", "Six pegs that turn away when not in use.", "Hats on top, keys on the small one at the end."),
        Kind("tool box", 64, "42 × 22 × 20 cm", "Everything for the small repair.", "Finger-jointed corners and a handle made for a full load."),
        Kind("stacking crate", 44, "40 × 30 × 22 cm", "Stacks, slides, becomes a bench.", "Notched so that the upper one locks into the lower."),
        Kind("step stool", 86, "40 × 30 × 38 cm", "Up to the top shelf.", "Wedge joints that tighten with use.", "wood"),
        Kind("wall hook", 12, "9 cm", "One hook, one screw, one winter coat.", "Round at the end, so that it does not mark the cloth.", "metal"),
        Kind("umbrella stand", 88, "52 cm high", "Catches drips and trips nobody.", "A removable dish in the foot, a weight beneath it.", "metal"),
        Kind("tea caddy", 34, "12 cm", "Keeps tea for a season.", "The lid falls slowly by itself, on nothing but air.", "metal"),
        Kind("laundry basket", 74, "58 cm high", "Holds two loads and looks like none.", "Leather handles, a cotton lining that goes in with the wash.", "colour"),
        Kind("storage basket", 38, "32 × 24 × 20 cm", "For toys, wool, newspapers.", "Folds flat when it has nothing to do.", "colour"),
    ]),
    Department("Travel", "travel", "Bags and small companions for the road.",
        "Made to be repaired, and the first repair is free of charge.", [
        Kind("weekend bag", 189, "50 × 30 × 24 cm", "Two nights, one bag.", "Opens wide like a doctor's bag and fits under a train seat.", "colour"),
        Kind("rucksack", 164, "22 litres", "Straps that know about shoulders.", "A sleeve for a laptop, a pocket against the back for papers.", "colour"),
        Kind("wash bag", 48, "24 × 14 × 12 cm", "Stands up by itself, hangs on any hook.", "The lining wipes clean.", "colour"),
        Kind("shoe bag", 26, "38 × 24 cm", "Keeps soles from shirts.", "A drawstring that locks with one hand.", "colour"),
        Kind("tool roll", 52, "60 × 32 cm", "Bicycle repairs, rolled up.", "Eleven pockets and a flap against loss.", "colour"),
        Kind("travel blanket", 98, "150 × 110 cm", "A train compartment's best friend.", "Rolls up into its own strap.", "cloth"),
        Kind("scarf", 64, "190 × 35 cm", "Long enough to go round twice.", "Finished with a rolled hem rather than a fringe.", "cloth"),
        Kind("flask", 46, "0.7 litre", "Hot until the evening.", "Two cups in the lid, and a neck wide enough for a brush.", "metal"),
        Kind("lunch box", 42, "18 × 13 × 6 cm", "One divider, no leaks.", "Clips that a child can open, and a bag in motion cannot.", "metal"),
        Kind("shaving brush", 48, "10 cm", "Lather in a minute.", "The knot is set deep and dries hanging down.", "wood"),
    ]),
]  # fmt: skip

REVIEWS = [
    (5, "Exactly as described, and heavier than I expected, in a good way. We use it every day."),
    (5, "Bought one for my sister, then went back for two more. The finish is lovely."),
    (5, "It replaced something I had bought three times over. I should have started here."),
    (5, "Came well packed, no plastic. After half a year it looks better than on the first day."),
    (5, "My grandfather had one like this. He would have approved."),
    (4, "Very good. The colour is a shade darker than in the picture, which I have come to like."),
    (4, "Solid and plain. One star off because it took four weeks, though they had said so."),
    (4, "Does what it should. A little larger than I thought, so do measure first."),
    (4, "Nice to hold, easy to clean. I wish there were a smaller one."),
    (4, "Good work. A small mark on the underside, which nobody will ever see."),
    (3, "Fine, but for this price I hoped for a bit more."),
    (3, "The thing itself is beautiful. It is just not quite practical in our small flat."),
    (2, "Arrived with a scratch. The exchange was quick and friendly, but still."),
    (1, "Not for me: far too heavy. I sent it back and had my money within the week."),
]

REVIEWERS = [
    "Ada", "Benedikt", "Carmen", "Dilan", "Edith", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Lamin",
    "Mireille", "Noor", "Oskar", "Petra", "Quentin", "Rosa", "Søren", "Tove", "Ursula", "Vikram", "Wanda", "Yusuf",
]  # fmt: skip

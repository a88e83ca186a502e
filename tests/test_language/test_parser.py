import pytest

from dtir.core.errors import PromptError
from dtir.language import EXAMPLES, parse
from dtir.language.lexicon import terms_of
from dtir.tasks import TASKS

# Short names for the table below.
NAMES = {
    "blur": "motion-blurry",
    "haze": "hazy",
    "jpeg": "jpeg-compressed",
    "light": "low-light",
    "noise": "noisy",
    "drop": "raindrop",
    "rain": "rainy",
    "shadow": "shadowed",
    "snow": "snowy",
    "fill": "inpainting",
}
# What each of the ten damages is called, in the order of TASKS.
WORDS = {
    "en": "blur; fog; compression artifacts; too dark; noise; raindrops; rain; shadow; snow; scratches",
    "de": "Unschärfe; Nebel; JPEG-Artefakte; zu dunkel; Rauschen; Regentropfen; Regen; Schatten; Schnee; Kratzer",
    "fr": "flou; brouillard; artefacts de compression; trop sombre; bruit; gouttes d'eau; pluie; ombre; neige; rayures",
    "es": "desenfoque; niebla; compresión; oscura; ruido; gotas de lluvia; lluvia; sombra; nieve; arañazos",
    "it": "sfocatura; nebbia; artefatti; scura; rumore; gocce; pioggia; ombra; neve; graffi",
    "pt": "desfoque; névoa; artefatos; escura; ruído; gotas de chuva; chuva; sombras; neve; arranhões",
    "zh": "模糊; 雾; 压缩; 太暗; 噪点; 水滴; 雨; 阴影; 雪; 划痕",
    "ja": "手ブレ; 霧; ブロックノイズ; 暗い; ノイズ; 雨粒; 雨; 影; 雪; キズ",
    "ru": "размытие; туман; артефакты сжатия; темно; шум; капли дождя; дождь; тень; снег; царапины",
}


@pytest.mark.parametrize("language", WORDS)
def test_the_ten_damages_in_every_language(language):
    words = WORDS[language].split("; ")
    assert [[asked.task for asked in parse(word).asked] for word in words] == [[task] for task in TASKS]


def asked(prompt):
    return [(one.task, one.strength) for one in parse(prompt).asked]


def expected(text):
    """ "rain, light .5" as pairs of task and strength."""
    parts = [part.split() for part in text.split(", ") if part]
    return [(NAMES[part[0]], float(part[1]) if len(part) > 1 else 1.0) for part in parts]


@pytest.mark.parametrize(
    ("prompt", "plan"),
    [
        # order
        ("remove the rain, then brighten it a little", "rain, light .5"),
        ("Denoise! Deblur! Dehaze!", "noise, blur, haze"),
        ("brighten it after removing the rain", "rain, light"),
        ("before brightening, remove the noise", "noise, light"),
        ("brighten it, but first remove the rain", "rain, light"),
        ("finally sharpen; remove snow, fog and rain", "snow, haze, rain, blur"),
        ("提亮之前去雨", "rain, light"),
        ("明るくする前に雨を消して", "rain, light"),
        # how much
        ("remove rain and snow a little", "rain .5, snow .5"),
        ("remove the rain completely, the noise a little", "rain, noise .5"),
        ("remove 30% of the noise and brighten it fully", "noise .3, light"),
        ("denoise by 12.5 percent", "noise .125"),
        ("Rauschen zu 50 Prozent entfernen", "noise .5"),
        ("噪点去除百分之40", "noise .4"),
        ("降噪百分之三十五", "noise .35"),
        ("降噪百分之十, 去雾百分之百", "noise .1, haze"),
        ("make it a bit brighter and reduce the noise by half", "light .5, noise .5"),
        ("Entferne bitte den Nebel und mache das Foto ein bisschen heller", "haze, light .5"),
        ("remove compression artifacts and a bit of noise", "jpeg, noise .5"),
        ("strongly reduce the noise but only slightly the blur", "noise, blur .5"),
        ("暗い写真を明るくして、ノイズを半分に減らして", "light, noise .5"),
        ("very slightly denoise, mostly deblur", "noise .25, blur .75"),
        ("denoise, but not too strongly", "noise .5"),
        ("denoise not too strongly", "noise .5"),
        # how bad the damage is said to be is not how much is asked for
        ("it is a bit dark, please brighten it", "light"),
        ("it is very dark, brighten it a little", "light .5"),
        # what is only described is done where it is asked for
        ("Es ist zu dunkel und verrauscht, bitte leicht entrauschen und aufhellen", "noise .5, light"),
        # languages
        ("entferne den Regen, dann etwas aufhellen", "rain, light .5"),
        ("Mach das Bild heller und schärfer", "light, blur"),
        ("enlève la pluie puis éclaircis un peu", "rain, light .5"),
        ("l'image est floue et il y a de la brume", "blur, haze"),
        ("quita la lluvia y luego aclara un poco", "rain, light .5"),
        ("togli la pioggia, poi schiarisci un po'", "rain, light .5"),
        ("remova a chuva e depois clareie um pouco", "rain, light .5"),
        ("remova o ruído no fundo", "noise"),
        ("去雨,然后稍微提亮", "rain, light .5"),
        ("雨を取り除いて少し明るくしてください", "rain, light .5"),
        ("убери дождь, потом немного осветли", "rain, light .5"),
        ("сделай фото ярче и резче", "light, blur"),
        ("bitte denoise, s'il vous plaît", "noise"),
        # a wish for none of something
        ("I want no rain in this picture", "rain"),
        ("photo trop sombre, sans bruit", "light, noise"),
        ("no more noise", "noise"),
        ("Kein Rauschen mehr", "noise"),
        ("hazla más clara y sin niebla", "light, haze"),
        ("deixe a imagem mais clara, sem chuva", "light, rain"),
        ("больше света, без шума", "light, noise"),
        ("less blur, more light", "blur, light"),
        # one thing said twice
        ("It is noisy. Please denoise it, remove the grain.", "noise"),
    ],
)
def test_what_is_asked_for(prompt, plan):
    assert asked(prompt) == expected(plan)


@pytest.mark.parametrize(
    ("prompt", "plan", "kept"),
    [
        ("do not touch the noise", "", "noise"),
        ("remove the rain but keep the grain", "rain", "noise"),
        ("don't touch the noise or the fog, but derain it", "rain", "noise, haze"),
        ("neither touch the noise nor the fog, remove the rain", "rain", "noise, haze"),
        ("don't sharpen or brighten, denoise", "noise", "blur, light"),
        ("remove the fog and don't brighten it", "haze", "light"),
        ("remove the rain without touching the noise", "rain", "noise"),
        ("remove noise and rain without touching the fog", "noise, rain", "haze"),
        ("there is no rain but it is dark", "light", "rain"),
        ("leave the noise alone, sharpen slightly", "blur .5", "noise"),
        ("do not remove the shadows, only the rain", "rain", "shadow"),
        ("The rain must go. The noise may stay.", "rain", "noise"),
        ("the picture is neither dark nor noisy, but hazy", "haze", "light, noise"),
        ("remove everything except the rain", "", "rain"),
        ("remove haze, not the rain", "haze", "rain"),
        ("there is snow, keep it; remove the fog", "haze", "snow"),
        ("the grain is fine, only fix the scratches", "fill", "noise"),
        ("Bitte keine Schärfung, nur Nebel entfernen", "haze", "blur"),
        ("n'enlève pas de ma photo le bruit, enlève la pluie", "rain", "noise"),
        ("雨と霧を消して、明るくしないで", "rain, haze", "light"),
        ("Lass die Regentropfen, entferne nur den Regen", "rain", "drop"),
        ("no quites la lluvia, solo el ruido", "noise", "rain"),
        ("不要去除阴影,只去雾", "haze", "shadow"),
        ("霧を取り除いて、ノイズは残してください", "haze", "noise"),
        ("Regen und Schnee nicht entfernen, aber aufhellen", "light", "rain, snow"),
        ("entferne das Rauschen zu 50 %, aber lass den Nebel", "noise .5", "haze"),
        ("ne touche ni au bruit ni à la brume, enlève la pluie", "rain", "noise, haze"),
        ("no toques el ruido pero elimina la niebla", "haze", "noise"),
        ("non toccare il rumore, ma rimuovi la nebbia", "haze", "noise"),
        ("não mexa no ruído, mas remova a névoa", "haze", "noise"),
        ("不要动噪点,去掉雾", "haze", "noise"),
        ("ノイズは除去しないで、ぼけを直して", "blur", "noise"),
        ("ノイズはそのままにして、霧を除去して", "haze", "noise"),
        ("не трогай шум, но убери туман", "haze", "noise"),
    ],
)
def test_what_is_to_stay(prompt, plan, kept):
    assert asked(prompt) == expected(plan)
    assert parse(prompt).kept == tuple(task for task, _ in expected(kept))


@pytest.mark.parametrize(
    ("prompt", "plan", "unknown"),
    [
        ("my grandmother's rainy wedding, dehaze too", "rain, haze", ("grandmother", "wedding")),
        ("remove the watermark and the rain", "rain", ("watermark",)),
        ("keep the sky and remove the rain", "rain", ("sky",)),
        ("add more noise but remove the fog", "haze", ("add more noise",)),
        ("Den Regenbogen behalten und den Regen entfernen", "rain", ("Regenbogen",)),
        ("Großmutter ist verrauscht", "noise", ("Großmutter",)),
        ("sharpening is not needed, remove haze", "haze", ("needed",)),
        ("lift the shadows of the Eiffel tower", "light", ("Eiffel", "tower")),
        ("撮影した写真の影を消して", "shadow", ("撮影",)),
        ("去掉雨伞上的雨", "rain", ("雨伞",)),
    ],
)
def test_what_is_not_understood_is_named(prompt, plan, unknown):
    assert asked(prompt) == expected(plan)
    assert parse(prompt).unknown == unknown


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("hello world", "hello, world"),
        ("the train went to Spain", "train, went, Spain"),
        ("add rain", "add rain"),
        ("make it darker", "darker"),
        ("blur the background", "blur the"),
        ("mehr Regen", "mehr Regen"),
        ("добавь шум", "добавь шум"),
        ("sombrero, nebulous, brainy, snowboard, hazel, shadowing", "sombrero, nebulous, brainy"),
        ("fix it", "Name the damage"),
        ("", "Name the damage"),
        ("12 34 ;;; ???", "12, 34"),
    ],
)
def test_nothing_understood_is_an_error_with_examples(prompt, words):
    with pytest.raises(PromptError) as error:
        parse(prompt)
    assert words in str(error.value)
    assert EXAMPLES[0] in str(error.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("remove the noise but keep the grain", "asks for and forbids the same: 'noise' and 'grain' are both 'noisy'"),
        ("remove 150% of the noise", "'150%' in the prompt .* is no share"),
        ("denoise by 0 %", "'0 %'"),
    ],
)
def test_contradictions_are_errors(prompt, message):
    with pytest.raises(PromptError, match=message):
        parse(prompt)


def test_examples_are_understood_wholly():
    for example in EXAMPLES:
        request = parse(example)
        assert len(request.asked) + len(request.kept) == 2
        assert request.unknown == ()


def test_terms_are_the_longest_and_keep_how_they_were_written():
    found = [(term.kind, term.text) for term in terms_of("Kein Rauschen, ein wenig SCHÄRFEN!")]
    assert found == [
        ("without", "Kein"),
        ("damage", "Rauschen"),
        ("comma", ","),
        ("degree", "ein wenig"),
        ("remedy", "SCHÄRFEN"),
        ("stop", "!"),
    ]

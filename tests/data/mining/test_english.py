import pytest

from codequarry.data.mining.english import is_english

ENGLISH = [
    "Returns the name of the current user.",
    "Parse HTML",
    "Encodes data using DES in CBC mode",
    "OS specific path handling",
    "Reads one record per line, LE byte order",
    "Lookup table für Umlaute is used for the German names",
    "Naïve Bayes classifier for the café example",
    "Adds λ to the distribution μ",
    "",
    "x y z",
]
OTHER = {
    "French": [
        "Retourne la liste des fichiers qui ne sont pas encore lus.",
        "Vérifie que le fichier existe avant de l'ouvrir",
        "Calcule une valeur pour chaque élément du tableau",
    ],
    "German": [
        "Gibt die Liste der Dateien zurück, die noch nicht gelesen wurden.",
        "Berechnet den Mittelwert und speichert ihn",
        "Wird aufgerufen, wenn sich der Zustand ändert",
    ],
    "Chinese": ["返回当前用户的名称", "检查文件是否存在 如果不存在则创建 config 文件", "初始化数据库连接"],
    "Japanese": ["ファイルを読み込んで返す", "現在のユーザーの名前を取得する"],
    "Russian": ["Возвращает имя текущего пользователя", "Проверяет, существует ли файл config.json"],
    "Spanish": [
        "Devuelve la lista de los archivos que no se han leído",
        "Calcula el valor para cada elemento",
    ],
    "Portuguese": ["Retorna o nome do usuário que não está ativo", "Calcula uma média para cada coluna"],
    "Korean": ["현재 사용자의 이름을 반환합니다"],
}


@pytest.mark.parametrize("text", ENGLISH)
def test_english_stays_whatever_names_and_signs_are_in_it(text):
    assert is_english(text)


@pytest.mark.parametrize(
    ("language", "text"), [(name, text) for name, texts in OTHER.items() for text in texts]
)
def test_prose_in_another_language_is_told(language, text):
    assert not is_english(text)

"""Rules for Chinese, for which there is no training data: what leans on earlier turns, and how."""

import re

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
OTHERS = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")  # kana and hangul
LATIN = re.compile(r"[A-Za-z]")
FRAGMENT = 6  # characters of a question that hardly names its subject

LEANS = {
    "pronoun": [
        r"[他她它牠]们?",
        r"人家|本人|此人|双方|两者|二者",
        r"其(?!实|他|它|中|余)",
    ],
    "demonstrative": [
        r"[这那](?!么说)",
        r"该(?=[公产城国人项地系电作校品店书片节市景])",
        r"此(?!外|致)|上述|以上|上面|前面|刚才|刚刚",
    ],
    "ordinal": [
        r"第[一二三四五六七八九十两\d]+[个种位部首条点款座本家次]",
        r"前者|后者|前[一两二三]个|最后一[个种位部]",
        r"另[外一]|其他|其它|其余|其中|别的",
        r"还有(?:呢|什么|哪|谁|吗|没有)",
        r"哪[个一](?:更|最|比较)",
    ],
    "comparison": [
        r"(?:更|比较|最)[^，。？]{0,6}(?:哪|吗|呢|一些|一点)",
        r"一样|相比|区别|同样",
    ],
    "ellipsis": [
        r"呢[？?！!。]?$",
        r"^(?:那|还有|然后|为什么|为啥|怎么|什么时候|在哪|哪里|哪儿|谁|几|多[少久大高长远])",
        r"^(?:真的|具体|比如|例如|继续|详细|再|也|但|可是|所以|而且)",
    ],
    "dropped subject": [
        r"^(?:是|有|在|会|能|可以|需要|好[吃看玩用听]|属于|位于|适合|包括|喜欢)",
        r"^(?:主演|导演|演员|编剧|作者|歌手|作曲|价格|门票|票价|地址|地点|位置|电话|评分|评价|口碑|类型|风格"
        r"|简介|全名|原名|身高|年龄|剧情|结局|时间|面积|规模|历史|语言|人口|首都|特色|优点|缺点|原因|结果)",
        r"^(?:出生|获得|得过|拍过|演过|写过|去过|毕业|发行|上映|开放|收录|成立|播出|出版|结婚|退役)",
    ],
}
CLOSING = re.compile(
    r"^\W*(?:谢谢|多谢|感谢|再见|拜拜|好的?|嗯+|哈+|哦+|噢|明白|知道|了解|不用|没有|没事|是的|对的?|行|可以"
    r"|你好|您好)[^？?吗呢]{0,6}$"
)
RULES = [(why, re.compile("|".join(patterns))) for why, patterns in LEANS.items()]


def is_chinese(text: str) -> bool:
    """Whether a text is Chinese: more Han than half its Latin letters, and no kana or hangul."""
    return len(HAN.findall(text)) * 2 > len(LATIN.findall(text)) and not OTHERS.search(text)


def leans_on(text: str) -> tuple[str, str] | None:
    """(kind, the words that show it) of a Chinese question that needs its history, else None."""
    if CLOSING.search(text):
        return None
    for why, pattern in RULES:
        if found := pattern.search(text):
            return why, found.group()
    return ("fragment", text) if len(text) <= FRAGMENT else None

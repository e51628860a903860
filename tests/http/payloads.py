"""200 texts that run a script, or ask another server, where a page takes them for more than text.

A hundred well-known shapes, each with two calls or two URLs. A script that runs opens a dialog or leaves a mark (`window.ran`), and a URL that is
asked for is that of `CANARY`. The number of a payload is in both, so a failure names it.
"""

from __future__ import annotations

from typing import Final

CANARY: Final = "canary.invalid"
"""A host that does not exist (RFC 6761 6.4). A page that asks for it has taken a text for an element."""

# fmt: off
_ELEMENTS = (
    "<script>CALL</script>", "<SCRIPT>CALL</SCRIPT>", "<script type=module>CALL</script>", "<script>CALL", "<<script>CALL//<</script>",
    "<scr<script>ipt>CALL</scr</script>ipt>", "<script/x>CALL</script>", "<script\n>CALL</script\n>", "<svg><script>CALL</script></svg>",
    "<math><mtext><script>CALL</script></mtext></math>", "<table><td><script>CALL</script></table>", "<select><script>CALL</script></select>",
    "<!--><script>CALL</script>-->", "<![CDATA[<script>CALL</script>]]>", "<?xml version='1.0'?><script>CALL</script>",
    "&lt;script&gt;CALL&lt;/script&gt;", "&#60;script&#62;CALL&#60;/script&#62;", "%3Cscript%3ECALL%3C/script%3E", "\\u003cscript\\u003eCALL\\u003c/script\\u003e",
    "</title><script>CALL</script>", "</textarea><script>CALL</script>", "</style><script>CALL</script>", "</pre></code><script>CALL</script>",
    "--><script>CALL</script>", "</noscript><script>CALL</script>", "</details></section></main><script>CALL</script>", "</td></tr></table><script>CALL</script>",
)
_HANDLERS = (
    "<img src=x onerror=CALL>", "<IMG SRC=x ONERROR=CALL>", "<img/src=x/onerror=CALL>", "<img src=x onerror='CALL'>", '<img src=x onerror="CALL">', "<img src=x onerror\n=\nCALL>",
    "<svg onload=CALL>", "<svg/onload=CALL>", "<svg><animate onbegin=CALL attributeName=x dur=1s></svg>", "<svg><set onbegin=CALL attributeName=x></svg>",
    "<body onload=CALL>", "<body onpageshow=CALL>", "<input autofocus onfocus=CALL>", "<select autofocus onfocus=CALL></select>", "<textarea autofocus onfocus=CALL></textarea>",
    "<button autofocus onfocus=CALL>x</button>", "<details open ontoggle=CALL>x</details>", "<video><source onerror=CALL></video>", "<audio src=x onerror=CALL></audio>", "<object data=x onerror=CALL></object>",
    "<iframe onload=CALL></iframe>", "<marquee onstart=CALL>x</marquee>", "<p onmouseover=CALL>x</p>", "<a href=x onclick=CALL>x</a>", "<style onload=CALL></style>",
    "<link rel=stylesheet href=x onerror=CALL>", "<div contenteditable onfocus=CALL tabindex=0 autofocus>x</div>", "<math><mtext><style><img src=x onerror=CALL></style></mtext></math>",
    "<form><button formaction=javascript:CALL>x</button></form>",
)
_ATTRIBUTES = (
    '"><script>CALL</script>', "'><script>CALL</script>", '"><img src=x onerror=CALL>', "'><img src=x onerror=CALL>", "><img src=x onerror=CALL>",
    '" autofocus onfocus="CALL', "' autofocus onfocus='CALL", " autofocus onfocus=CALL ", '" onmouseover="CALL', '" style="animation-name:x" onanimationstart="CALL',
    '";CALL;//', "';CALL;//", "{{constructor.constructor('CALL')()}}", "{{7*7}}{% for x in (1,) %}<script>CALL</script>{% endfor %}", "${CALL}", "`;CALL;`",
)
_LINKS = (
    "javascript:CALL", "JaVaScRiPt:CALL", " javascript:CALL", "java\tscript:CALL", "javascript://x%0ACALL", "data:text/html,<script>CALL</script>", "vbscript:CALL",
    "<a href=javascript:CALL>x</a>", "<a href='jav&#x09;ascript:CALL'>x</a>", "<a href='&#106;avascript:CALL'>x</a>", "[x](javascript:CALL)", "[x](data:text/html,<script>CALL</script>)",
    "[x]: javascript:CALL\n\n[x]", "<javascript:CALL>", '![x](x"onerror="CALL)', "`x <javascript:CALL>`_", ".. _x: javascript:CALL\n\n`x`_", ".. raw:: html\n\n   <script>CALL</script>\n",
)
_REQUESTS = (
    "<img src=URL>", "![x](URL)", ".. image:: URL\n", "<link rel=stylesheet href=URL>", "<style>@import 'URL';</style>", "<iframe src=URL></iframe>", "<meta http-equiv=refresh content='0;url=URL'>",
    "<object data=URL></object>", "<p style='background:url(URL)'>x</p>", "<svg><image href=URL /></svg>",
)
# fmt: on
_SHAPES: Final = (*_ELEMENTS, *_HANDLERS, *_ATTRIBUTES, *_LINKS, *_REQUESTS)


def _payload(number: int) -> str:
    shape = _SHAPES[number // 2]
    call, url = (
        (f"alert({number})", f"https://{CANARY}/{number}")
        if number % 2
        else (f"window.ran={number}", f"//{CANARY}/{number}")
    )
    return shape.replace("CALL", call).replace("URL", url)


PAYLOADS: Final = tuple(map(_payload, range(2 * len(_SHAPES))))

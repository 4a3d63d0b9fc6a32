"""Parameter names of the authors' own checkpoints, turned into ours. Names only: the shapes agree.

DRAEM: github.com/VitjanZ/DRAEM (two files). DeSTSeg: github.com/apple/ml-destseg (one file).
"""

from __future__ import annotations

import re

from torch import Tensor

Rules = tuple[tuple[str, str], ...]
State = dict[str, Tensor]

DRAEM_RECONSTRUCTIVE: Rules = (
    (r"encoder\.block(\d)\.", r"reconstructive.encoder.{0}."),
    (r"decoder\.up(\d)\.1\.", r"reconstructive.decoder.{0}.up.0."),
    (r"decoder\.up(\d)\.2\.", r"reconstructive.decoder.{0}.up.1."),
    (r"decoder\.db(\d)\.", r"reconstructive.decoder.{0}.merge."),
    (r"decoder\.fin_out\.0\.", r"reconstructive.out."),
)
DRAEM_DISCRIMINATIVE: Rules = (
    (r"encoder_segment\.block(\d)\.", r"discriminative.encoder.{0}."),
    (r"decoder_segment\.up_b\.1\.", r"discriminative.decoder.0.up.0."),
    (r"decoder_segment\.up_b\.2\.", r"discriminative.decoder.0.up.1."),
    (r"decoder_segment\.db_b\.", r"discriminative.decoder.0.merge."),
    (r"decoder_segment\.up(\d)\.1\.", r"discriminative.decoder.{1}.up.0."),
    (r"decoder_segment\.up(\d)\.2\.", r"discriminative.decoder.{1}.up.1."),
    (r"decoder_segment\.db(\d)\.", r"discriminative.decoder.{1}.merge."),
    (r"decoder_segment\.fin_out\.0\.", r"discriminative.out."),
)
_ASPP = r"segmentation_net\.head\.0\."
DESTSEG: Rules = (
    (r"teacher_net\.encoder\.", r"teacher."),
    (r"student_net\.encoder\.", r"student.encoder."),
    (r"student_net\.decoder_layer(\d)\.", r"student.decoder{1}."),
    (r"segmentation_net\.res\.", r"segmentation.res."),
    (_ASPP + r"aspp_feature_extractors\.0\.1\.conv\.", r"segmentation.pooled.0."),
    (_ASPP + r"aspp_feature_extractors\.0\.1\.norm\.", r"segmentation.pooled.1."),
    (_ASPP + r"aspp_feature_extractors\.(\d)\.conv\.", r"segmentation.dilated.{0}.0."),
    (_ASPP + r"aspp_feature_extractors\.(\d)\.norm\.", r"segmentation.dilated.{0}.1."),
    (_ASPP + r"aspp_fusion_layer\.conv\.", r"segmentation.merge.0."),
    (_ASPP + r"aspp_fusion_layer\.norm\.", r"segmentation.merge.1."),
    (r"segmentation_net\.head\.1\.", r"segmentation.head.0.0."),
    (r"segmentation_net\.head\.2\.", r"segmentation.head.0.1."),
    (r"segmentation_net\.head\.4\.", r"segmentation.head.1."),
)


def renamed(name: str, rules: Rules) -> str | None:
    """Our name of a foreign parameter, or None when no rule knows it.

    In a rule, {1} is the number found and {0} that number counted from zero.
    """
    for pattern, ours in rules:
        if found := re.match(pattern, name):
            number = int(found[1]) if found.groups() else 0
            return ours.format(number - 1, number) + name[found.end() :]
    return None


def translated(state: State, rules: Rules) -> tuple[State, list[str]]:
    """The state under our names, and the names that no rule knows."""
    ours = {name: renamed(name, rules) for name in state}
    unknown = sorted(name for name, mine in ours.items() if mine is None)
    return {mine: state[name] for name, mine in ours.items() if mine is not None}, unknown

"""DeSTSeg as its authors save it: one file (github.com/apple/ml-destseg)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_ad.methods.destseg.network import DeSTSegConfig
from edge_ad.methods.foreign import Foreign, Reader, Rules, translate_all
from edge_ad.methods.pretrained import State

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


def read_official(states: Sequence[State]) -> Foreign | None:
    """Recognise the authors' file."""
    if len(states) != 1 or not any(key.startswith("segmentation_net.") for key in states[0]):
        return None
    return Foreign(
        "destseg",
        "its authors' code",
        DeSTSegConfig(),  # the score averages 100 pixels at every size, as there
        translate_all(states[0], DESTSEG, "DeSTSeg"),
    )


READERS: tuple[Reader, ...] = (Reader("DeSTSeg of its authors", read_official),)

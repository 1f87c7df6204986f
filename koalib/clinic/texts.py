"""Every word the clinic shows, in English and Chinese; one setting chooses."""

from __future__ import annotations

from koalib.data.rasters import PROBLEMS
from koalib.errors import UserError

LANGUAGES = {"en": "English", "zh": "中文"}

_TEXTS: dict[str, tuple[str, str]] = {
    # the page
    "title": ("Knee reading room", "膝关节读片室"),
    "subtitle": ("Kellgren-Lawrence grading of knee radiographs", "膝关节 X 线片 Kellgren-Lawrence 分级"),
    "notice": ("For research and teaching. Not a medical device; not for diagnosis or treatment.",
               "仅供科研与教学使用。非医疗器械，不得用于诊断或治疗。"),
    "language": ("Language", "语言"),
    "tabs": ("Part of the page", "页面"),
    "reading_tab": ("Reading", "读片"),
    "history_tab": ("History", "历史记录"),
    "films": ("Films", "影像"),
    "drop": ("Drop films here or choose files", "将影像拖到此处，或选择文件"),
    "drop_hint": ("PNG, JPEG, TIFF or DICOM, up to {megabytes} MB each, {files} at a time", "PNG、JPEG、TIFF 或 DICOM，每个不超过 {megabytes} MB，每次最多 {files} 个"),
    "samples": ("Or try a made film; the shipped grader learnt from real ones and reads these badly", "或试用合成影像；随附模型由真实影像训练，对合成影像判读不准"),
    "sample": ("Phantom, made as grade {grade}", "合成影像，设定为 {grade} 级"),
    "sample_both": ("Phantom, both knees", "合成影像，双膝"),
    "both": ("both", "双膝"),
    "patient": ("Patient (pseudonym)", "患者（化名）"),
    "patient_hint": ("for the next films dropped", "用于下次拖入的影像"),
    "work_list": ("This session", "本次读片"),
    "empty": ("No film yet. Drop one on the left, or pick a made one.", "尚无影像。请在左侧拖入影像，或选择一张合成影像。"),
    "errors": ("Please note", "请注意"),
    "dismiss": ("Dismiss", "关闭"),
    # the viewer
    "film": ("Film", "影像"),
    "heat": ("Where the network looked", "网络关注区域"),
    "opacity": ("Heat map opacity", "热力图不透明度"),
    "zoom_in": ("Zoom in", "放大"),
    "zoom_out": ("Zoom out", "缩小"),
    "zoom_reset": ("Fit", "复位"),
    "viewer_help": ("Wheel or + and - zoom, drag or arrow keys move, 0 shows the whole film", "滚轮或 + - 键缩放，拖动或方向键移动，0 键复位"),
    # the reading
    "grade": ("Grade", "分级"),
    "kl": ("KL {grade}", "KL {grade}"),
    "grade_0": ("no osteoarthritis", "无骨关节炎"),
    "grade_1": ("doubtful", "可疑"),
    "grade_2": ("mild", "轻度"),
    "grade_3": ("moderate", "中度"),
    "grade_4": ("severe", "重度"),
    "probabilities": ("Calibrated probabilities", "校准概率"),
    "confidence": ("Confidence", "置信度"),
    "oa": ("Radiographic osteoarthritis (KL 2 or more)", "放射学骨关节炎（KL ≥ 2）"),
    "oa_short": ("Radiographic OA (KL 2 or more)", "放射学骨关节炎（KL ≥ 2）"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "set": ("Prediction set, {coverage} coverage", "预测集（覆盖率 {coverage}）"),
    "set_short": ("Prediction set", "预测集"),
    "set_hint": ("at this setting the true grade lies inside for {coverage} of films like those it was calibrated on", "对于与校准集同类的影像，{coverage} 的真实分级落在此集合内"),
    "refer": ("Refer to a reader", "请由医师复核"),
    "refer_no": ("No referral needed by the rule", "按规则无需复核"),
    "wide_set": ("more than two grades remain possible", "可能的分级多于两个"),
    "unusual": ("the film is unlike those the grader was made on", "该影像与训练影像差异较大"),
    "side": ("Side", "侧别"),
    "L": ("left", "左"),
    "R": ("right", "右"),
    "side_unknown": ("not known", "未知"),
    "joint_space": ("Narrowest joint space", "最窄关节间隙"),
    "joint_space_share": ("share of the knee's width; the file has no pixel spacing, so no millimetres", "占膝关节宽度的比例；文件无像素间距，故不以毫米表示"),
    "joint_space_mm": ("by the file's pixel spacing; not corrected for magnification", "按文件像素间距计算，未校正放大率"),
    "joint_space_medial": ("{width}, medial compartment", "{width}（内侧间室）"),
    "joint_space_narrower": ("{width}, narrower compartment", "{width}（较窄间室）"),
    "joint_space_none": ("no edge clear enough to measure", "边缘不清，无法测量"),
    "remarks": ("Image quality", "影像质量"),
    "remarks_none": ("nothing to remark", "无异常"),
    "inverted": ("contrast was inverted and has been turned", "影像反相，已自动校正"),
    "low_contrast": ("low contrast", "对比度低"),
    "two_knees": ("two knees were found on the film; this is one of them", "影像中发现双膝，此为其一"),
    "cut_off": ("the knee may be cut off at the edge", "膝关节可能被边缘截断"),
    "small": ("fewer pixels than the grader looks at", "像素少于模型所需"),
    "pixel spacing is that of the detector, the knee is magnified": ("pixel spacing is that of the detector, the knee is magnified", "像素间距为探测器平面数值，膝关节有放大"),
    "model": ("Model", "模型"),
    "seconds": ("Seconds", "用时（秒）"),
    "earlier": ("Earlier film of this knee", "该膝既往影像"),
    "earlier_line": ("{date}: KL {grade}", "{date}：KL {grade}"),
    "change_none": ("same grade", "分级未变"),
    "change_by": ("{change:+d} grades since", "较前变化 {change:+d} 级"),
    # the reader's word
    "reader": ("Reader: {reader}", "医师：{reader}"),
    "decision": ("Your reading", "医师判读"),
    "reader_decision": ("Reader's decision", "医师判读"),
    "accept": ("Accept", "接受"),
    "change": ("Change", "修改"),
    "reject": ("Reject", "拒绝"),
    "accepted": ("accepted", "已接受"),
    "changed": ("changed", "已修改"),
    "rejected": ("rejected", "已拒绝"),
    "open": ("open", "待定"),
    "your_grade": ("Your grade", "您的分级"),
    "reason": ("Reason", "理由"),
    "reason_hint": ("needed to change or reject", "修改或拒绝时必填"),
    "save": ("Save", "保存"),
    "saved": ("Saved: {what}", "已保存：{what}"),
    "reason_missing": ("Write a reason before you change or reject.", "修改或拒绝前请填写理由。"),
    "grade_missing": ("Choose the grade it should be.", "请选择应为的分级。"),
    "same_grade": ("The grader already says {grade}. Choose another grade, or accept the reading.", "模型的判读已是 {grade}。请选择其他分级，或点击“接受”。"),
    "choose": ("choose", "请选择"),
    # reports
    "report": ("Report", "报告"),
    "report_title": ("Knee radiograph report", "膝关节 X 线片报告"),
    "report_ready": ("{name} was made", "已生成 {name}"),
    "report_html": ("Web page", "网页"),
    "report_pdf": ("PDF", "PDF"),
    "report_json": ("JSON", "JSON"),
    "report_sr": ("DICOM report", "DICOM 结构化报告"),
    "report_sc": ("DICOM picture", "DICOM 截图"),
    "made": ("Made", "生成时间"),
    "film_hash": ("Film SHA-256", "影像 SHA-256"),
    "reader_pending": ("not yet confirmed by a reader", "尚未经医师确认"),
    "identity_kept": ("Patient number, name and birth date of DICOM files are stored in this case book and written into DICOM reports.",
                      "本病例簿保存 DICOM 文件中的患者编号、姓名和出生日期，并写入 DICOM 报告。"),
    # history
    "date": ("Date", "日期"),
    "from": ("From", "起始"),
    "until": ("Until", "截止"),
    "any": ("any", "不限"),
    "only_changed": ("Only changed by the reader", "仅显示医师修改的"),
    "found": ("{count} readings", "共 {count} 条记录"),
    "found_part": ("{shown} of {count} readings shown, the newest; the export has all", "共 {count} 条记录，显示最新 {shown} 条；导出包含全部"),
    "export": ("Export CSV", "导出 CSV"),
    "status": ("Status", "状态"),
    "knee": ("Knee", "膝"),
    "open_case": ("Open the reading of {name}", "打开 {name} 的记录"),
    "history_empty": ("Nothing in the book fits.", "没有符合条件的记录。"),
    # mistakes
    "too_large": ("{name}: larger than {megabytes} MB; choose a smaller file", "{name}：超过 {megabytes} MB，请选择较小的文件"),
    "too_many": ("Only {files} films at a time; the others were left out", "每次最多 {files} 张影像，其余未读取"),
    "unreadable": ("{name}: could not be read; drop the film itself, not its folder, and check that it is still there", "{name}：无法读取，请拖入影像本身，不要拖入文件夹，并检查文件是否还在"),
    "not_a_knee": ("{name}: this does not look like a knee radiograph; choose a frontal knee film", "{name}：看起来不是膝关节 X 线片，请选择膝关节正位片"),
    "report_failed": ("{name}: was read, but what was asked for could not be written ({why}); check the folder", "{name}：已读取，但结果无法写入（{why}），请检查文件夹"),
    "pseudonym_taken": ("pseudonym {patient} belongs to another patient number in this book; choose another, or leave the field empty",
                        "化名 {patient} 在本病例簿中已属于另一患者编号，请换一个，或将其留空"),
    "pseudonym_malformed": ("pseudonym {patient}: reports cannot carry it; write up to {longest} characters without backslash or control character",
                            "化名 {patient}：无法写入报告，请使用不超过 {longest} 个字符，且不含反斜杠或控制字符"),
    "failed": ("Something went wrong: {error}", "发生错误：{error}"),
}

_PROBLEMS = {
    "film_missing": "{name}：无法读取（{why}），请检查路径",
    "film_empty": "{name}：文件为空，请重新导出影像",
    "film_too_heavy": "{name}：超过 200 MB，请单独导出该影像（PNG 或 DICOM）",
    "film_too_large": "{name}：超过一亿像素，请以较低分辨率导出",
    "film_too_small": "{name}：{columns} x {rows} 像素过少，膝关节影像每边至少 {least} 像素",
    "film_blank": "{name}：无内容，所有像素相同，请重新导出影像",
    "film_no_image": "{name}：不是可读取的影像，请使用 PNG、JPEG、TIFF、BMP、WebP 或 DICOM",
    "film_frames": "{name}：含 {frames} 帧，请只导出需要分级的一张影像",
    "film_damaged": "{name}：文件损坏或不完整（{why}），请重新复制或导出",
    "film_not_in_dicom": "{name}：DICOM 文件中没有影像或已损坏，请导出 X 线片本身",
    "film_pixels": "{name}：像素无法读取（{why}），请以不压缩方式导出或重新导出",
    "film_unpacks": "{name}：解压后超过 200 MB，请单独导出该影像（PNG 或 DICOM）",
    "film_too_many_pixels": "{name}：像素多于一张 {columns} x {rows} 的影像，请重新导出",
    "film_other_size": "{name}：像素为 {found}，文件头为 {said}，请重新导出",
}
_TEXTS |= {code: (english, _PROBLEMS[code]) for code, english in PROBLEMS.items()}


class ClinicError(UserError):
    """A mistake whose line is a text here, so that the page can say it in its own language."""

    def __init__(self, key: str, **values: object) -> None:
        self.key, self.values = key, values
        super().__init__(text(key, **values))


def text(key: str, language: str = "en", **values: object) -> str:
    """A text in a language, its {fields} filled.

    Raises:
        UserError: no such language.
    """
    if language not in LANGUAGES:
        raise UserError(f"language {language!r}: choose one of {', '.join(LANGUAGES)}")
    english, chinese = _TEXTS[key]
    return (chinese if language == "zh" else english).format(**values)


def known(key: str) -> bool:
    """Whether there is a text of this key; remarks of other rooms may have none and are shown as they are."""
    return key in _TEXTS


def remark(code: str, language: str = "en") -> str:
    """A quality remark in words."""
    return text(code, language) if known(code) else code.replace("_", " ")


def all_texts() -> str:
    """Every character used, for choosing the glyphs of the report's font."""
    return "".join(english + chinese for english, chinese in _TEXTS.values()) + "".join(LANGUAGES.values())

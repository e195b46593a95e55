"""Images from a PACS by DICOMweb, and results back: a structured report and a picture, each only when somebody asks.

What comes from a PACS is a stranger's file, and is read as any of them (``images.sandbox``). What identifies a patient,
a study or a series is taken from the source file in the moment in which a result is made, and is in nothing else.
"""

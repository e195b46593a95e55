"""One image file to grey pixels: PNG, JPEG, TIFF and DICOM; strangers' files in a process of their own."""

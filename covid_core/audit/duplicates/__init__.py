"""Images that show the same picture, even cropped, turned, mirrored or exposed anew."""
